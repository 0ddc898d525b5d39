"""Images cropped at random, as models are trained on them."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from torchserve_fire.format.bundle import InputDescription

from ..sanitize.training import Augment, unchanged
from .pixels import to_images, to_inputs

PART = 8
"""Images of 32 pixels are padded by 4 on each side."""


def cropping(description: InputDescription) -> Augment:
    """Return what crops the inputs of a model at random; what is no image stays as it is.

    Nothing is flipped: of a digit or a road sign, a mirror image shows something else.
    """
    if description.kind != "image":
        return unchanged
    pad = max(1, min(description.shape[1:]) // PART)

    def augment(inputs: Tensor, generator: torch.Generator) -> Tensor:
        images = to_images(inputs, description)
        return to_inputs(crop_and_flip(images, generator, pad=pad, flips=False), description)

    return augment


def crop_and_flip(images: Tensor, generator: torch.Generator, *, pad: int, flips: bool) -> Tensor:
    """Return images (N, C, H, W), each cropped from its padded self, half of them flipped.

    Args:
        images: on the CPU.
        generator: source of the random numbers.
        pad: pixels of black on each side.
        flips: whether any are flipped.
    """
    count, channels, height, width = images.shape
    padded = F.pad(images, (pad,) * 4)
    tops, lefts = (torch.randint(0, 2 * pad + 1, (count, 1), generator=generator) for _ in range(2))
    rows = tops + torch.arange(height)
    columns = lefts + torch.arange(width)
    flipped = torch.rand(count, 1, generator=generator) < (0.5 if flips else 0.0)
    columns = torch.where(flipped, columns.flip(1), columns)
    index = torch.arange(count).view(-1, 1, 1, 1), torch.arange(channels).view(1, -1, 1, 1)
    return padded[(*index, rows.view(count, 1, -1, 1), columns.view(count, 1, 1, -1))]
