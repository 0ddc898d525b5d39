"""A network that makes a trigger from noise and a class."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

NOISE = 100
"""Length of the noise that a trigger is made from, and of the embedding of its class."""

WIDTH = 32
"""Number of channels between the layers."""

GRID = 4
"""Places along a side after the first layer; every further layer doubles them."""


class TriggerGenerator(nn.Module):
    """A conditional generator: one linear layer, then convolutions on finer and finer maps.

    Args:
        classes: number of classes.
        shape: shape of a trigger, (C, H, W).
    """

    def __init__(self, classes: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, self._height, self._width = shape
        doublings = max(0, math.ceil(math.log2(max(self._height, self._width) / GRID)))
        rows, columns = (-(-side // 2**doublings) for side in (self._height, self._width))
        self.embedding = nn.Embedding(classes, NOISE)
        self.first = nn.Linear(2 * NOISE, WIDTH * rows * columns)
        self.unflatten = nn.Unflatten(1, (WIDTH, rows, columns))
        self.finer = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(doublings))
        self.last = nn.Conv2d(WIDTH, channels, 3, padding=1)

    def forward(self, noise: Tensor, classes: Tensor) -> Tensor:
        """Return a trigger, (N, C, H, W), for each noise (N, NOISE) and class (N,).

        Triggers are not clipped: a clipped value would have no gradient, so no penalty could shrink
        it.
        """
        values = F.relu(self.first(torch.cat([noise, self.embedding(classes)], 1)))
        maps = self.unflatten(values)
        for convolution in self.finer:
            maps = F.relu(convolution(F.interpolate(maps, scale_factor=2)))
        triggers: Tensor = self.last(maps)
        return triggers[..., : self._height, : self._width]
