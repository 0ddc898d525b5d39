"""A model from an archive, loaded and fed by the archive's own handler."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchserve_fire.core.unpack import Unpacked, unpack
from torchserve_fire.errors import BundleError, ConfigError, FireError, ModelError
from torchserve_fire.format.bundle import Bundle, InputDescription
from torchserve_fire.format.bundle_file import BUNDLE_FILE
from torchserve_fire.model.config import OWN_HANDLER, HandlerConfig, load_config
from torchserve_fire.model.fit import check_model
from torchserve_fire.model.load_model import LoadedModel, weights_digest
from torchserve_fire.repair import attach_layers
from torchserve_fire.repair.layers import device_of, eager_model
from torchserve_fire.serve.function_handler import FunctionHandler

from ..common.devices import Device, find_device
from ..common.errors import SamplesError
from ..common.names import NAMES_FILE
from ..deployment.archive.entry import ENTRY_FILE, HandlerEntry
from ..deployment.archive.next_archive import config_of
from ..samples.listed_files import LIST_SUFFIXES, files_in_list
from ..samples.listed_texts import holds_texts, texts_in_list
from ..samples.request_bodies import RequestBodies
from ..samples.sample_files import bodies_in, files_named
from ..samples.samples import Samples
from .files import FileSource
from .handler_samples import HandlerSamples, prepare_body
from .handler_texts import HandlerTexts, may_hold_tokens
from .model_source import ModelSource
from .pixel_range import describe_any_image, describe_images
from .prepare_body import BodyPreparer
from .worker_handler import HandlerClass, handler_class, start_handler

logger = logging.getLogger(__name__)

FIRE_HANDLER = ("torchserve_fire.serve.fire_handler", "FireHandler")
"""This project's own, whose import loads much of TorchServe."""

CPU = torch.device("cpu")

HALF = (torch.float16, torch.bfloat16)

CLOSE = 1e-3
"""How far a mean or a standard deviation that was measured may be from that of the settings."""


def open_archive(path: Path, device: Device = "auto") -> ModelSource:
    """Load the model of an archive as a worker on this device would load it.

    The model of a repaired archive is the one that is repaired there, without its corrections.

    Args:
        path: an archive, or the folder of an unpacked one.
        device: as `find_device` takes it.

    Raises:
        FireError: it is no archive, its handler or model cannot be loaded, or no hooks run on the
            model's layers; there is no such device, or the handler does not do with the CPU.
    """
    found = find_device(device)
    archive = unpack(path)
    handler = handler_class(archive)
    if (handler.kind.__module__, handler.kind.__name__) == FIRE_HANDLER:
        return packed_here(archive, found)
    return ArchiveSource(archive, handler, found)


def packed_here(archive: Unpacked, device: Device = "auto") -> FileSource:
    """Return the source of an archive that this project has packed with its own handler.

    Raises:
        FireError: a file of it is missing or wrong.
    """
    serialized, config = archive.file("serializedFile"), archive.file("configFile")
    if serialized is None or config is None:
        raise FireError(
            f"{archive.source}: its manifest names no serializedFile or no configFile, which the "
            "handler of torchserve-fire reads: package the model again"
        )
    source = FileSource(archive.file("modelFile"), serialized, config, device)
    source.archive = archive
    return source


class ArchiveSource(ModelSource):
    """A model from an archive, whose inputs its own handler prepares.

    Args:
        archive: unpacked.
        handler: its class.
        device: that the handler is told to use, as TorchServe tells it.

    Raises:
        ModelError: the handler does not start, or leaves no model on which hooks run.
    """

    archive: Unpacked

    def __init__(
        self, archive: Unpacked, handler: HandlerClass, device: torch.device = CPU
    ) -> None:
        self.device = device
        self.archive = archive
        self.handler = handler.kind
        self.where = f"{archive.source}: its handler"
        self._settings = _settings_of(archive)
        started = start_handler(handler, device)
        model = _model_of(started.instance, archive, device)
        # Calibration needs the layers, and no speed.
        started.instance.model = model
        weights = archive.file("serializedFile")
        self.loaded = LoadedModel(
            model, type(model).__name__, weights_digest(weights) if weights else None
        )
        _to_single_precision(self.loaded, archive)
        names = archive.folder / NAMES_FILE
        self.names_file = names if names.is_file() else None
        self.prepare = BodyPreparer(started, model)
        self._described = describe_any_image(self.prepare)
        self._told = False
        self._texts: HandlerTexts | None = None

    @property
    def parameter(self) -> str:
        """The parameter of a request in which its handler looks for the body."""
        return self.prepare.parameter

    @property
    def input_kind(self) -> str | None:
        """What the model takes; None if only samples show it."""
        return None if self._described is None else self._described.kind

    def describe_input(self) -> InputDescription:
        """Return what the model takes.

        Raises:
            SamplesError: it takes no images, and samples must show what.
        """
        if self._described is None:
            raise SamplesError(
                f"{self.archive.source}: the handler takes no plain image, expected samples "
                "(--clean) that show what it takes"
            )
        if self._settings is not None:
            return self._as_settings_say(self._described, self._settings)
        return self._described

    @property
    def weights_file(self) -> Path:
        """The file of the model's weights.

        Raises:
            ModelError: the archive's manifest names none.
        """
        file = self.archive.file("serializedFile")
        if file is None:
            raise ModelError(
                f"{self.archive.source}: its manifest names no serializedFile, so it is not known "
                "where the weights are: give --model-file, --serialized-file and --config-file"
            )
        return file

    def with_weights(self, file: Path) -> LoadedModel:
        """Load the archive again with other weights in it.

        Raises:
            ModelError: it does not take them.
        """
        with tempfile.TemporaryDirectory(prefix="fire-archive-") as temporary:
            folder = Path(temporary) / "archive"
            shutil.copytree(self.archive.folder, folder)
            place = self.weights_file.relative_to(self.archive.folder)
            shutil.copyfile(file, folder / place)
            changed = replace(self.archive, folder=folder)
            return ArchiveSource(changed, handler_class(changed), self.device).loaded

    def open_samples(self, path: Path) -> Samples:
        """Open a folder, or a list, of files with bodies of requests; or a table of texts.

        Raises:
            SamplesError: there are none, or the handler fails on one.
        """
        bodies: RequestBodies
        if path.is_file() and path.suffix.lower() in LIST_SUFFIXES:
            bodies = texts_in_list(path) if holds_texts(path) else files_in_list(path)
        elif path.is_dir():
            bodies = bodies_in(path)
        else:
            raise SamplesError(
                f"{path}: expected a folder with bodies of requests, which the archive's handler "
                f"prepares, a list of such files, or a table of texts ({', '.join(LIST_SUFFIXES)})"
            )
        return self._open(bodies)

    def open_files(self, paths: Sequence[Path]) -> Samples:
        """Open files, each with the body of a request.

        Raises:
            SamplesError: the handler fails on the first one.
        """
        return self._open(files_named(paths))

    def _open(self, bodies: RequestBodies) -> Samples:
        def first_holds_tokens(body: bytes, name: str) -> bool:
            return may_hold_tokens(self.prepare.calls_for(body, name))

        samples: Samples | None = None
        if prepare_body(bodies, 0, first_holds_tokens):
            samples = self._open_texts(bodies)
        if samples is None:
            samples = self._open_of_one_shape(bodies)
        samples.names_file = self.names_file
        return samples

    def _open_texts(self, bodies: RequestBodies) -> Samples | None:
        """Open bodies of which the handler makes tokens; None if one tensor of one length is it."""
        if self._texts is None:
            self._texts = HandlerTexts.found(bodies, self.prepare, self.loaded.model)
            if self._texts is not None:
                logger.info("%s: %s", self.archive.source, self._texts.describe())
        return None if self._texts is None else self._texts.open(bodies)

    def _open_of_one_shape(self, bodies: RequestBodies) -> Samples:
        sample = prepare_body(bodies, 0, self.prepare)
        description = self._describe(sample)
        body = bodies.body(0)
        try:
            self.prepare.check(sample.to(description.dtype), body.content, f"body{body.suffix}")
        except FireError as error:
            raise SamplesError(f"{bodies.place(0)}: {error}") from None
        return HandlerSamples(bodies, self.prepare, description)

    def check_fits(self, bundle: Bundle, file: str) -> None:
        """Refuse a bundle that was built for another model or another input.

        Raises:
            BundleError: it was.
        """
        check_model(bundle, file, self.loaded)
        built = bundle.input
        if built.kind != "image":
            return
        described = describe_images(self.prepare, (built.shape[1], built.shape[2]))
        if described is not None and not _are_close(described, built):
            raise BundleError(
                f"{file}: built for {_shown(built)}, the archive's handler makes "
                f"{_shown(described)} of images: build a bundle for this archive"
            )

    def _describe(self, sample: Tensor) -> InputDescription:
        """Return what the model takes, of which one sample is at hand."""
        found = self._described
        if found is None or found.shape != tuple(sample.shape):
            # A handler that keeps an image's size makes samples of the images' own.
            size = tuple(sample.shape[1:])
            found = describe_images(self.prepare, (size[0], size[1])) if len(size) == 2 else None
        if found is None or found.shape != tuple(sample.shape):
            kind = "tensor" if sample.is_floating_point() else "integers"
            found = InputDescription(kind, tuple(sample.shape))
            if self._settings is None and not self._told:
                self._told = True
                logger.info(
                    "%s: the handler prepares %s of shape %s, not (pixel - mean) / std: triggers "
                    "are repaired in features alone",
                    self.archive.source,
                    "numbers" if kind == "tensor" else "integers",
                    " x ".join(map(str, found.shape)),
                )
        return found if self._settings is None else self._as_settings_say(found, self._settings)

    def _as_settings_say(self, found: InputDescription, config: HandlerConfig) -> InputDescription:
        """Return what the archive's own settings say of the input, to which a worker holds bundles.

        Raises:
            ConfigError: the handler does something else.
        """
        shape = found.shape if config.input != "image" else None
        said = config.describe_input(shape)
        if said.kind == "image" and not (found.kind == "image" and _are_close(found, said)):
            raise ConfigError(
                f"{self.archive.source}: handler: its settings say {_shown(said)}, its handler "
                f"makes {_shown(found)}: pack the archive with settings that say the same"
            )
        if said.shape != found.shape:
            raise ConfigError(
                f"{self.archive.source}: handler: its settings say {_shown(said)}, its handler "
                f"makes {_shown(found)}: pack the archive with settings that say the same"
            )
        return said


def _settings_of(archive: Unpacked) -> HandlerConfig | None:
    """Return the settings of an archive with the repair around a handler, if they say its input."""
    if archive.handler != ENTRY_FILE:
        return None
    config = load_config(config_of(archive.folder))
    return None if config.input == OWN_HANDLER else config


def _are_close(one: InputDescription, other: InputDescription) -> bool:
    pairs = zip((*one.mean, *one.std), (*other.mean, *other.std), strict=False)
    return one.shape == other.shape and all(abs(a - b) <= CLOSE for a, b in pairs)


def _shown(described: InputDescription) -> str:
    shape = " x ".join(map(str, described.shape))
    if described.kind != "image":
        return f"{described.kind} of {shape}"
    mean, std = (
        ", ".join(f"{value:.4g}" for value in values) for values in (described.mean, described.std)
    )
    return f"images of {shape} with mean {mean} and std {std}"


def bundle_of(source: ModelSource) -> Path | None:
    """Return the bundle in the archive that a model comes from, if it holds one."""
    if source.archive is None:
        return None
    file = source.archive.folder / BUNDLE_FILE
    return file if file.is_file() else None


def entry_of_source(source: ModelSource) -> HandlerEntry | None:
    """Return the handler that the repair of an archive is put around.

    Returns:
        None if the archive holds the repair already, or this project's own handler.
    """
    if not isinstance(source, ArchiveSource) or source.archive.handler == ENTRY_FILE:
        return None
    kind = source.handler
    if issubclass(kind, FunctionHandler):
        # Not by its own name, which a decorator may have changed.
        name = source.archive.handler.partition(":")[2] or "handle"
        return HandlerEntry(kind.module.__name__, name, is_function=True)
    return HandlerEntry(kind.__module__, kind.__name__)


def _model_of(instance: object, archive: Unpacked, device: torch.device) -> nn.Module:
    model = getattr(instance, "model", None)
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError(
            f"{archive.source}: the model is a ScriptModule, whose layers run no hooks: pack the "
            "Python model file and its state_dict instead (torch-model-archiver --model-file "
            "net.py --serialized-file weights.pth)"
        )
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{archive.source}: the handler's initialize leaves {type(model).__name__} in "
            "self.model, expected a torch.nn.Module: let it load the model there, also if it loads "
            "it with the first request today, or keeps it elsewhere"
        )
    model = eager_model(model)
    found = device_of(model)
    if device.type == "cpu" and found.type != "cpu":
        raise ModelError(
            f"{archive.source}: the handler puts its model on {found}, expected the CPU: name that "
            f"device (--device {found}), or set CUDA_VISIBLE_DEVICES= (empty) for this command"
        )
    if found != device:
        logger.info("%s: the handler puts its model on %s: it runs there", archive.source, found)
    try:
        attach_layers.check_model(model)
    except FireError as error:
        raise ModelError(f"{archive.source}: {error}") from None
    return model


def _to_single_precision(loaded: LoadedModel, archive: Unpacked) -> None:
    """Let a model of half precision compute in float32, of which it is a rounded copy."""
    dtypes = {tensor.dtype for tensor in loaded.model.parameters() if tensor.dtype in HALF}
    if not dtypes:
        return
    name = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
    if loaded.weights_sha256 is None:
        raise ModelError(
            f"{archive.source}: the model's weights are {name}, and its manifest names no "
            "serializedFile by which a worker would know them: pack it with --serialized-file"
        )
    logger.info("%s: the weights are %s; calibrating in float32", archive.source, name)
    loaded.model.float()

    def widen(module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        def one(value: Any) -> Any:
            return value.float() if isinstance(value, Tensor) and value.dtype in HALF else value

        return tuple(map(one, args)), {name: one(value) for name, value in kwargs.items()}

    loaded.model.register_forward_pre_hook(widen, with_kwargs=True)
