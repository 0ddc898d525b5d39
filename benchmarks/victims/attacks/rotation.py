"""Rotation (Wu et al., "Just rotate it", arXiv 2207.10825): a turned image is the trigger."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .attack import Attack, Stamped, to_target

DEGREES = 30


class Rotation(Attack):
    """The image, turned by 30 degrees to the left; corners that nothing covers are black."""

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`; images are square."""
        sine, cosine = (f(math.radians(DEGREES)) for f in (math.sin, math.cos))
        turn = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0]])
        grid = F.affine_grid(turn.expand(len(images), -1, -1), images.shape, align_corners=False)
        return Stamped(F.grid_sample(images, grid, align_corners=False), to_target(labels))
