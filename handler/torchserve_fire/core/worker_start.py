"""Starting a worker: its configuration, its bundle, and the checks without which it must not serve.

Nothing here knows which server the worker belongs to.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, ModelError
from ..format.bundle import Bundle, InputDescription
from ..format.bundle_file import BUNDLE_FILE, load_bundle
from ..model.config import (
    OWN_HANDLER,
    SETTINGS_FILE,
    HandlerConfig,
    load_config,
    parse_config,
)
from ..model.fit import check_fits, matching_input
from ..model.load_model import LoadedModel, weights_digest
from ..model.missing_package import missing_package
from ..model.request_body import RequestBody, as_handed_over
from ..repair.attach_layers import attach_layers
from ..repair.example_input import example_for
from ..repair.layers import eager_model
from ..repair.repair_handle import RepairHandle
from ..watch.quarantine import Quarantine
from ..watch.quarantine_queue import QuarantineQueue
from .archive_signature import check_archive_folder
from .description import MAX_EXAMPLE_BYTES, OwnInput

TRIAL_VARIABLE = "FIRE_TRIAL"
"""Set where an archive is only tried, on a machine that need not be the server's."""

AS_SERVER = "as-server"
"""Its value where the answers must be those of the server's workers, with the folder's bundle."""


def read_config(values: Any, source: str, folder: Path) -> HandlerConfig:
    """Read the settings of a worker, and check the archive's signature where they ask for one.

    To be called before anything of the archive is imported or loaded. Where the archive has a
    `repair-config.yaml`, the settings stand there, and `model-config.yaml` is the handler's own.

    Args:
        values: the contents of `model-config.yaml`.
        source: the configuration's file, for messages.
        folder: the unpacked archive.

    Raises:
        ConfigError: a setting is unknown, missing, or has a wrong value.
        SignatureError: the archive is not what one of the trusted keys has signed.
    """
    settings = folder / SETTINGS_FILE
    if settings.is_file():
        config = load_config(settings)
    else:
        config = parse_config(values if isinstance(values, dict) else {}, source)
    if config.trusted_keys:
        check_archive_folder(folder, config.trusted_keys)
    return config


def describe_unrepaired(config: HandlerConfig, folder: Path) -> InputDescription:
    """Return what a model takes that is served as it is, in mode `off`.

    Raises:
        BundleError: the shape must be read from a bundle, which cannot be read.
        ConfigError: there is no such bundle, or it is for another input.
    """
    if config.input in ("image", "table"):
        return config.describe_input()
    path = folder / BUNDLE_FILE
    if not path.is_file():
        raise ConfigError(
            f"handler: mode: off with input: {config.input}: the shape of a sample is read from "
            f"{BUNDLE_FILE}, which the archive lacks"
        )
    return matching_input(config, load_bundle(path), BUNDLE_FILE)


def known_model(model: Any, weights: Path | None) -> LoadedModel:
    """Return a model with what its weights are known by.

    Args:
        model: what a handler has loaded, compiled or not.
        weights: their file; None where nothing names it.

    Raises:
        ModelError: it is none that hooks run on.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError(
            "the model is a ScriptModule, whose layers run no hooks: bring the Python model file "
            "and its state_dict instead (package --model-file net.py --serialized-file w.pth)"
        )
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"the handler's initialize left {type(model).__name__} in self.model, expected a "
            "torch.nn.Module"
        )
    model = eager_model(model)
    digest = None if weights is None else weights_digest(weights)
    return LoadedModel(model, type(model).__name__, digest)


def check_bundle(
    bundle: Bundle, file: str, loaded: LoadedModel, config: HandlerConfig, source: str
) -> InputDescription:
    """Refuse a bundle that does not fit what is served.

    Args:
        bundle: the bundle.
        file: its file's name, for messages.
        loaded: the model.
        config: the settings.
        source: the settings' file, for messages.

    Returns:
        What the model takes.

    Raises:
        BundleError: the bundle is for another model.
        ConfigError: the bundle is for another input, or the mode or the quarantine needs another.
        ModelError: the weights must be known by their state_dict, which holds more than tensors.
    """
    described = check_fits(bundle, file, loaded, config)
    if config.mode != "repair" and not bundle.detecting_layers:
        raise ConfigError(
            f"{source}: handler: mode: {config.mode!r} needs a bundle with a layer that "
            "detects; this one corrects every input"
        )
    if config.quarantine is not None and not bundle.detecting_layers:
        raise ConfigError(
            f"{source}: handler: quarantine: needs a bundle with a layer that detects; this "
            "one corrects every input, and every input would be kept"
        )
    return described


def attach_bundle(
    config: HandlerConfig,
    bundle: Bundle,
    model: nn.Module,
    example: Tensor | Callable[[], Any],
) -> RepairHandle:
    """Attach a bundle that was checked, in the mode of the settings, and prove that it works.

    Args:
        config: the settings.
        bundle: that fits the model.
        model: compiled or not.
        example: as `attach_layers` takes it.

    Raises:
        AttachError: it cannot be attached, or does not work.
    """
    mode = attach_mode(config)
    return attach_layers(model, bundle.layers, example, target=bundle.target, mode=mode)


def attach_mode(config: HandlerConfig) -> str:
    """Return the mode of `attach_layers` in which a worker's answers are judged."""
    return "repair" if config.mode == "repair" else "observe"


def example_of(
    config: HandlerConfig,
    folder: Path,
    source: str,
    model: nn.Module,
    described: InputDescription,
    predict: Callable[[Any], Any],
) -> Tensor | Callable[[], Any]:
    """Return what the corrections are proved on: zeros, or the request in the example's file.

    Args:
        config: the settings, which name the file.
        folder: the unpacked archive.
        source: the configuration's file, for messages.
        model: on its device.
        described: what it takes.
        predict: has the handler predict for one request's body.

    Raises:
        ConfigError: the file cannot be read.
    """
    name = config.example
    if name is None:
        return example_for(model, described)
    try:
        body = as_handed_over((folder / name).read_bytes(), name)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{source}: handler: example: {name}: {one_line(error)}; expected a request's "
            "body as a file of the archive (package --extra-files)"
        ) from None
    return lambda: predict(body)


def own_input(config: HandlerConfig, folder: Path, described: InputDescription) -> OwnInput | None:
    """Return what is known of the requests to a handler that prepares inputs in its own way.

    Args:
        config: the settings, which name the example.
        folder: the unpacked archive.
        described: what the model takes.

    Returns:
        None where inputs are prepared as the settings say.
    """
    if config.input != OWN_HANDLER:
        return None
    file = None if config.example is None else folder / config.example
    # A handler that was found to take images takes any.
    if file is None or described.kind == "image" or file.stat().st_size > MAX_EXAMPLE_BYTES:
        return OwnInput(None)
    return OwnInput(RequestBody(file.read_bytes(), file.suffix))


def is_trial() -> bool:
    """Whether an archive is only tried here, and another machine may be the server's."""
    return TRIAL_VARIABLE in os.environ


def is_trial_as_server() -> bool:
    """Whether, besides, the bundle of its folder counts, and not its own."""
    return os.environ.get(TRIAL_VARIABLE) == AS_SERVER


def make_quarantine(
    config: HandlerConfig, name: str, described: InputDescription
) -> QuarantineQueue | None:
    """Return where flagged inputs go; None where they are not kept.

    Args:
        config: the settings.
        name: the model's.
        described: what the model takes.

    Raises:
        ConfigError: the quarantine's folder cannot be made, or takes no files.
    """
    if config.quarantine is None or is_trial():
        return None
    return QuarantineQueue(Quarantine(config.quarantine, name, described))


def one_line(error: Exception) -> str:
    """Return what an exception says, on one line, or its name where it says nothing."""
    if isinstance(error, ModuleNotFoundError):
        return missing_package(error)
    return " ".join(str(error).split())[:500] or type(error).__name__
