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
from torch import nn

from torchserve_fire.errors import BundleError, FireError, ModelError
from torchserve_fire.format.bundle import Bundle, InputDescription
from torchserve_fire.format.bundle_file import BUNDLE_FILE
from torchserve_fire.model.fit import check_model
from torchserve_fire.model.load_model import LoadedModel, weights_digest
from torchserve_fire.repair.layers import eager_model
from torchserve_fire.serve.function_handler import FunctionHandler

from ..common.errors import SamplesError
from ..common.names import NAMES_FILE
from ..deployment.archive.entry import ENTRY_FILE, HandlerEntry
from ..deployment.archive.unpack import Unpacked, unpack
from ..samples.listed_files import LIST_SUFFIXES, files_in_list
from ..samples.sample_files import SampleFiles, bodies_in, files_named
from .files import FileSource
from .handler_samples import HandlerSamples, prepare_file
from .model_source import ModelSource
from .pixel_range import describe_images
from .prepare_body import BodyPreparer
from .worker_handler import handler_class, start_handler

logger = logging.getLogger(__name__)

FIRE_HANDLER = "FireHandler"
"""The handler of this project, which TorchServe's own modules are needed to import."""

TRIED_SIZE = (256, 256)
"""(height, width) of the plain image that shows whether a handler takes images."""


def open_archive(path: Path) -> ModelSource:
    """Load the model of an archive as a worker would load it, on the CPU.

    The model of a repaired archive is the one that is repaired there, without its corrections.

    Args:
        path: an archive, or the folder of an unpacked one.

    Raises:
        FireError: it is no archive, its handler or model cannot be loaded, or no hooks run on the
            model's layers.
    """
    archive = unpack(path)
    kind = handler_class(archive)
    if kind.__name__ == FIRE_HANDLER:
        return packed_here(archive)
    return ArchiveSource(archive, kind)


def packed_here(archive: Unpacked) -> FileSource:
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
    source = FileSource(archive.file("modelFile"), serialized, config)
    source.archive = archive
    return source


class ArchiveSource(ModelSource):
    """A model from an archive, whose inputs its own handler prepares.

    Args:
        archive: unpacked.
        kind: its handler's class.

    Raises:
        ModelError: the handler does not start, or leaves no model on which hooks run.
    """

    archive: Unpacked

    def __init__(self, archive: Unpacked, kind: type[Any]) -> None:
        self.archive = archive
        self.handler = kind
        self.where = f"{archive.source}: its handler"
        self._handler = start_handler(archive, kind)
        model = _model_of(self._handler.instance, archive)
        # Calibration needs the layers, and no speed.
        self._handler.instance.model = model
        weights = archive.file("serializedFile")
        self.loaded = LoadedModel(
            model, type(model).__name__, weights_digest(weights) if weights else None
        )
        names = archive.folder / NAMES_FILE
        self.names_file = names if names.is_file() else None
        self.prepare = BodyPreparer(self._handler, model)
        self._described = self._describe(TRIED_SIZE)

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
            shutil.copyfile(file, folder / self.weights_file.name)
            changed = replace(self.archive, folder=folder)
            return ArchiveSource(changed, handler_class(changed)).loaded

    def open_samples(self, path: Path) -> HandlerSamples:
        """Open a folder, or a list, of files with bodies of requests.

        Raises:
            SamplesError: there are none, or the handler fails on the first one.
        """
        if path.is_file() and path.suffix.lower() in LIST_SUFFIXES:
            files = files_in_list(path)
        elif path.is_dir():
            files = bodies_in(path)
        else:
            raise SamplesError(
                f"{path}: expected a folder with bodies of requests, which the archive's handler "
                f"prepares, or a list of such files ({', '.join(LIST_SUFFIXES)})"
            )
        return self._open(files)

    def open_files(self, paths: Sequence[Path]) -> HandlerSamples:
        """Open files, each with the body of a request.

        Raises:
            SamplesError: the handler fails on the first one.
        """
        return self._open(files_named(paths))

    def _open(self, files: SampleFiles) -> HandlerSamples:
        first = files.paths[0]
        sample = prepare_file(first, self.prepare)
        try:
            self.prepare.check_positional(sample, first.read_bytes(), first.name)
        except FireError as error:
            raise SamplesError(f"{first}: {error}") from None
        description = self._described
        if description is None or description.shape != tuple(sample.shape):
            # A handler that keeps an image's size makes samples of the images' own.
            size = tuple(sample.shape[1:])
            description = self._describe(size) if len(size) == 2 else None
        if description is None or description.shape != tuple(sample.shape):
            kind = "tensor" if sample.is_floating_point() else "integers"
            description = InputDescription(kind, tuple(sample.shape))
            logger.info(
                "%s: the handler prepares %s of shape %s; these are no pixels that a mean and a "
                "standard deviation were taken of, so triggers are repaired in features alone",
                self.archive.source,
                "numbers" if kind == "tensor" else "integers",
                " x ".join(map(str, description.shape)),
            )
        samples = HandlerSamples(files, self.prepare, description)
        samples.names_file = self.names_file
        return samples

    def check_fits(self, bundle: Bundle, file: str) -> None:
        """Refuse a bundle that was built for another model or another input.

        Raises:
            BundleError: it was.
        """
        check_model(bundle, file, self.loaded)
        if self._described is not None and bundle.input.shape != self._described.shape:
            raise BundleError(
                f"{file}: built for inputs of shape {bundle.input.shape}, the archive's handler "
                f"makes such of shape {self._described.shape}: build a bundle for this archive"
            )

    def _describe(self, size: tuple[int, ...]) -> InputDescription | None:
        return describe_images(self.prepare, (size[0], size[1]))


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
    if not isinstance(source, ArchiveSource):
        return None
    if (source.archive.folder / ENTRY_FILE).is_file():
        return None
    kind = source.handler
    if issubclass(kind, FunctionHandler):
        return HandlerEntry(kind.module.__name__, kind.function.__name__, is_function=True)
    return HandlerEntry(kind.__module__, kind.__name__)


def _model_of(instance: object, archive: Unpacked) -> nn.Module:
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
            "self.model, expected a torch.nn.Module"
        )
    return eager_model(model)
