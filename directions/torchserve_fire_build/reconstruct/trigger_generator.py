"""A network that makes a trigger of noise and a class."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

NOISE = 100
"""Numbers that a trigger is made of, and as many that stand for its class."""

WIDTH = 32
"""Channels between the layers."""

GRID = 4
"""Places along a side that the first layer makes; every further one doubles them."""


class TriggerGenerator(nn.Module):
    """A conditional generator: one linear layer, then convolutions of ever finer maps.

    Args:
        classes: number of classes.
        shape: of a trigger, (C, H, W).
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
        """Return a trigger for each noise (N, NOISE) and class (N,), (N, C, H, W).

        It has no bounds: values at them would have no gradient by which a penalty shrinks them.
        """
        values = F.relu(self.first(torch.cat([noise, self.embedding(classes)], 1)))
        maps = self.unflatten(values)
        for convolution in self.finer:
            maps = F.relu(convolution(F.interpolate(maps, scale_factor=2)))
        triggers: Tensor = self.last(maps)
        return triggers[..., : self._height, : self._width]
