"""The settings under `handler:` that come with a model, so that nobody has to write them again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .pretrained_folder import is_pretrained, settings_of
from .timm_model import is_timm, timm_settings

SIZE = ("image_size", "resize", "crop", "interpolation", "antialias")
"""Settings that go together: who gives one of them gives them all."""


def own_settings(model_file: Path | None, serialized_file: Path) -> Mapping[str, Any]:
    """Return the settings that come with a model of transformers or timm; none for others.

    Raises:
        ModelError: they cannot be read, or the library is missing.
    """
    if model_file is None:
        return settings_of(serialized_file.parent) if is_pretrained(serialized_file) else {}
    return timm_settings(model_file) if is_timm(model_file) else {}


def with_own_settings(values: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contents of a `model-config.yaml` with the settings that it leaves out.

    Args:
        values: the contents.
        own: settings of `handler:` for what is not said there.
    """
    said = values.get("handler")
    if not own or not isinstance(said, (Mapping, type(None))):
        return dict(values)
    said = said or {}
    if said.get("input", own["input"]) != own["input"]:
        return dict(values)
    sized = any(name in said for name in SIZE)
    left = {name: value for name, value in own.items() if not (sized and name in SIZE)}
    return {**values, "handler": {**left, **said}}
