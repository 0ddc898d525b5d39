"""Inputs of a model as images, for defences that change images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from torchserve_fire.format.bundle import InputDescription

from .rival import RivalNotApplicable

LEVELS = 255
ROUNDING = 1e-5
"""How far normalising, and taking it back, may move a value."""


def on_images(
    description: InputDescription, change: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """Return a change of images, (N, C, H, W) in [0, 1], as one of the model's inputs.

    Raises:
        RivalNotApplicable: the model takes no images.
    """
    require_images(description)
    return lambda inputs: to_inputs(change(to_images(inputs, description)), description)


def require_images(description: InputDescription) -> None:
    """Refuse a model that takes no images.

    Raises:
        RivalNotApplicable: it takes something else, or what an unknown preparation makes of images.
    """
    if description.kind != "image":
        raise RivalNotApplicable(f"it changes images, and the model takes {description.kind}s")


def to_images(inputs: Tensor, description: InputDescription) -> Tensor:
    """Return a model's inputs as images, (N, C, H, W) in [0, 1].

    A value within rounding of one of 8 bits is that one: so images that come from files are what
    the files hold, to the bit.
    """
    mean, std = _scale(description)
    images = inputs * std + mean
    levels = (images * LEVELS).round() / LEVELS
    return torch.where((images - levels).abs() < ROUNDING, levels, images)


def to_inputs(images: Tensor, description: InputDescription) -> Tensor:
    """Return images, (N, C, H, W) in [0, 1], as the model takes them."""
    mean, std = _scale(description)
    return (images - mean) / std


def _scale(description: InputDescription) -> tuple[Tensor, Tensor]:
    mean, std = (
        torch.tensor(values).view(-1, 1, 1) for values in (description.mean, description.std)
    )
    return mean, std
