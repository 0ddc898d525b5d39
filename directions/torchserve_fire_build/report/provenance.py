"""What it takes to come to the same results again."""

from __future__ import annotations

import platform
import time

import torch

from torchserve_fire.format.bundle import Bundle
from torchserve_fire.model.state_digest import state_digest

from ..common.installed import installed_version
from ..source.model_source import ModelSource


def provenance(
    command_line: str, source: ModelSource, bundle: Bundle | None = None
) -> dict[str, str]:
    """Return digests, versions and the command, by name.

    Args:
        command_line: as it was given.
        source: of the model.
        bundle: that was measured, if any.
    """
    loaded = source.loaded
    values = {
        "command": command_line,
        "time": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "model": loaded.class_name,
        "weights in memory, SHA-256": loaded.state_sha256 or state_digest(loaded.model),
        "device": str(source.device),
        "torchserve-fire": installed_version("torchserve-fire"),
        "torch": torch.__version__,
        "Python": platform.python_version(),
    }
    if loaded.weights_sha256 is not None:
        values["weights' file, SHA-256"] = loaded.weights_sha256
    if bundle is not None:
        values["bundle, SHA-256"] = bundle.digest or "(not saved)"
    return values
