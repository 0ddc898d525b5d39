"""Images between what a model takes and what a file holds."""

from __future__ import annotations

import torch
from torch import Tensor

from torchserve_fire.format.bundle import InputDescription

LEVELS = 255


def to_pixels(inputs: Tensor, description: InputDescription) -> Tensor:
    """Return normalised images (N, C, H, W) in [0, 1]; other inputs as they are."""
    if description.kind != "image":
        return inputs
    mean, std = _of_channels(description)
    return (inputs * std).add_(mean).clamp_(0, 1)


def to_inputs(pixels: Tensor, description: InputDescription) -> Tensor:
    """Return images (N, C, H, W) normalised, other inputs as they are.

    Before, images are clamped to [0, 1] and rounded to 8 bits, as a request has them.
    """
    if description.kind != "image":
        return pixels
    mean, std = _of_channels(description)
    return ((pixels.clamp(0, 1) * LEVELS).round() / LEVELS - mean) / std


def _of_channels(description: InputDescription) -> tuple[Tensor, Tensor]:
    return (
        torch.tensor(description.mean).view(-1, 1, 1),
        torch.tensor(description.std).view(-1, 1, 1),
    )
