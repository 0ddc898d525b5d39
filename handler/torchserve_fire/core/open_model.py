"""Opening a model to serve it in any server: an archive, its folder, or a module with a bundle."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import ConfigError, ModelError
from ..format.bundle import Bundle
from ..format.fields import shown
from ..model.config import public_keys
from ..repair.layers import eager_model
from ..watch.metrics import MetricsFor, NoMetrics
from .manifest import DEFAULT_VERSION
from .open_archive import open_archive
from .open_module import open_module
from .served_model import ServedModel
from .unpack import unpack


def open_model(
    source: nn.Module | Path | str,
    bundle: Bundle | Path | str | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    name: str | None = None,
    version: str | None = None,
    device: torch.device | str | None = None,
    metrics: MetricsFor = NoMetrics,
    trusted_keys: Sequence[str] | None = None,
) -> ServedModel:
    """Open a model with its bundle, prove that the repair works there, and return what answers.

    Args:
        source: an archive that `package` has made with this project's own handler, its unpacked
            folder, or a module in evaluation mode on its device. The code of an archive runs in
            this process.
        bundle: what a module is served with. An archive has its own.
        settings: of a module: what would stand under `handler:` in `model-config.yaml`, such as
            `{"mode": "reject"}`; the bundle says what the input is. An archive has its own.
        name: of the model, for metrics, the log and the quarantine's folder; None: the archive's,
            or the module's class.
        version: of the model; None: the archive's, or 1.0.
        device: where the model of an archive runs; None: on a CUDA GPU where there is one. A module
            stays where it is.
        metrics: makes what the counts and gauges of a bundle are given to, of the model's name, its
            version, and the bundle's digest; `watch.metrics` says which there are.
        trusted_keys: public keys, one of which must have signed the archive, or the module's
            bundle, and each bundle that is swapped in; None: those that the settings name, if any.

    Returns:
        The model, to be closed in the end.

    Raises:
        FireError: something is missing, damaged, not signed, does not fit, or the repair does not
            work; it says what, in a line. Nothing stays attached, and nothing unpacked.

    Example:
        >>> with open_model("net-1.0.mar") as model:
        ...     answers = model.answer([Path("cat.png").read_bytes()])
        ...     model.swap("newer.safetensors")
    """
    keys = () if trusted_keys is None else public_keys(trusted_keys, "trusted_keys")
    if isinstance(source, nn.Module):
        if bundle is None:
            raise ModelError("a module is served with a bundle, expected bundle= beside it")
        if device is not None:
            raise ModelError(
                "device: a module stays where it is: move it there, and leave this out"
            )
        class_name = type(eager_model(source)).__name__
        served_as = _served_as(name or class_name, version or DEFAULT_VERSION)
        return open_module(source, bundle, settings or {}, served_as, metrics, keys)
    if not isinstance(source, (str, os.PathLike)):
        raise ModelError(
            f"{type(source).__name__}: expected an archive's path, or a module that was built: "
            "Net(), not its class"
        )
    if bundle is not None or settings is not None:
        raise ConfigError(
            f"{source}: an archive holds its bundle and its settings: leave out those given, and "
            "swap the bundle once it is open"
        )
    archive = unpack(Path(source))
    try:
        served_as = _served_as(name or archive.name, version or archive.version)
        return open_archive(archive, served_as, device, metrics, keys)
    except BaseException:
        archive.remove()
        raise


def _served_as(name: str, version: str) -> tuple[str, str]:
    """Return a model's name and version, which stand in lines of the log, and in paths.

    Raises:
        ConfigError: they do not do for that.
    """
    for what, text in (("name", name), ("version", version)):
        if (
            not isinstance(text, str)
            or not text.isprintable()
            or "/" in text
            or text in (".", "..")
        ):
            raise ConfigError(f"{what}: {shown(text)}, expected text on one line, without a slash")
    return name, version
