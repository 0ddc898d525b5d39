"""Models that timm builds by their names, as `timm:resnet18`; nothing is downloaded."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import ModelError, first_line
from .checkpoint import Checkpoint

PREFIX = "timm:"
NAME = re.compile(r"\w+(\.\w+)?")
"""An architecture, and the tag of the weights that it was trained to; no address."""


def is_timm(model_file: Path | str | None) -> bool:
    """Whether a model is named in the place of its file."""
    return model_file is not None and str(model_file).startswith(PREFIX)


def build_timm(model_file: Path | str, checkpoint: Checkpoint) -> nn.Module:
    """Build a model of timm, with as many classes and channels as its weights have.

    Args:
        model_file: `timm:NAME`.
        checkpoint: its weights; they are not loaded.

    Raises:
        ModelError: timm is not installed, or has no such model.
    """
    timm, name, trained = _find(model_file)
    sizes = {}
    for argument, layer, side in (
        ("num_classes", trained.classifier, 0),
        ("in_chans", trained.first_conv, 1),
    ):
        found = _side_of(checkpoint, layer, side)
        if found is not None:
            sizes[argument] = found
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, **sizes)
    except Exception as error:  # Whatever a model of theirs may refuse.
        raise ModelError(f"{model_file}: timm cannot build it: {first_line(error)}") from None
    return model


def timm_settings(model_file: Path | str) -> Mapping[str, Any]:
    """Return the settings of `handler:` that the model's `pretrained_cfg` stands for.

    Raises:
        ModelError: as `build_timm`, or images are prepared in a way that the settings cannot say.
    """
    timm, _, trained = _find(model_file)
    known = timm.data.resolve_data_config(pretrained_cfg=trained.to_dict())
    _, height, width = known["input_size"]
    scaled = [math.floor(side / known["crop_pct"]) for side in (height, width)]
    if known["crop_mode"] == "center" and height == width:
        resize: int | list[int] = scaled[0]
    elif known["crop_mode"] == "squash":
        resize = scaled
    else:
        raise ModelError(
            f"{model_file}: timm prepares its images by crop_mode {known['crop_mode']!r}: give "
            "image_size, or resize and crop, in model-config.yaml"
        )
    return {
        "input": "image",
        "resize": resize,
        "crop": [height, width],
        "interpolation": known["interpolation"],
        "mean": [float(value) for value in known["mean"]],
        "std": [float(value) for value in known["std"]],
    }


def _find(model_file: Path | str) -> tuple[Any, str, Any]:
    """Return timm, the model's name, and what its published weights were trained with."""
    name = str(model_file).removeprefix(PREFIX)
    try:
        import timm
    except ImportError:
        raise ModelError(
            f"{model_file}: timm is not installed: pip install timm here and where the model is "
            "served"
        ) from None
    architecture = name.split(".")[0]
    if not NAME.fullmatch(name) or not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise ModelError(f"{model_file}: timm {timm.__version__} has no model of that name{hint}")
    trained = timm.get_pretrained_cfg(name)
    if trained is None:
        raise ModelError(f"{model_file}: timm knows no weights of that tag: leave {name!r} off")
    return timm, name, trained


def _side_of(checkpoint: Checkpoint, layer: Any, side: int) -> int | None:
    """Return a side of a layer's weights in the file; None where it is not found, or not clear."""
    if not isinstance(layer, str):
        return None
    found = {
        tensor.shape[side]
        for tensors in checkpoint.dictionaries.values()
        for name, tensor in tensors.items()
        if f".{name}".endswith(f".{layer}.weight") and tensor.dim() > side
    }
    return found.pop() if len(found) == 1 else None
