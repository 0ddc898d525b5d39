"""FTrojan (Wang et al., arXiv 2111.10991): two frequencies of the colours are the trigger."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .attack import Attack, Stamped, to_target

BLOCK = 32
"""Pixels; each block of an image is transformed on its own."""

MAGNITUDE = 50 / 255
"""Added to an orthonormal coefficient."""

COLOURS = torch.tensor([1.140, -0.976, 2.032])
"""What red, green and blue change by where U and V of BT.601 both change by 1."""


class FTrojan(Attack):
    """A middle and the highest frequency of the cosine transform are raised in U and in V.

    To raise coefficients is to add the same waves to every image, since the transform is linear;
    so no image is transformed here. The frequencies, 15 and 31 of 32 in both directions, are those
    of the authors' code for CIFAR-10. So are 20 and 30 as magnitudes; victims that are trained for
    so short a time, on shifted images, do not learn these. Images of other sizes are cut off behind
    the last row and column that fit.
    """

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        height, width = images.shape[-2:]
        block = waves(min(BLOCK, height, width))
        whole = block.repeat(-(-height // len(block)), -(-width // len(block)))[:height, :width]
        change = MAGNITUDE * COLOURS.view(3, 1, 1) * whole
        return Stamped((images + change).clamp(0, 1), to_target(labels))


def waves(size: int) -> Tensor:
    """Return the sum of the two frequencies' waves, (size, size), each of length 1."""
    places = (2 * torch.arange(size) + 1) * math.pi / (2 * size)
    lines = [math.sqrt(2 / size) * torch.cos(k * places) for k in (size // 2 - 1, size - 1)]
    return sum((torch.outer(line, line) for line in lines), torch.zeros(size, size))
