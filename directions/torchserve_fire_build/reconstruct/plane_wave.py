"""Plane waves on the grid of an image."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

CYCLES = 16
"""The most cycles along each side: as many as small images can show."""


@dataclass(frozen=True)
class PlaneWave:
    """A wave that goes over an image in one direction.

    Attributes:
        down: cycles from top to bottom.
        across: cycles from left to right; if negative, the wave is mirrored.
        phase: phase at the first place, in radians.
    """

    down: int
    across: int
    phase: float

    def values(self, height: int, width: int) -> Tensor:
        """Return the wave, (height, width) float32, with an amplitude of 1."""
        rows, columns = (torch.arange(side) / side for side in (height, width))
        cycles = self.down * rows[:, None] + self.across * columns
        values: Tensor = torch.cos(2 * math.pi * cycles + self.phase)
        return values

    def of_strength(self, strength: float, height: int, width: int) -> Tensor:
        """Return the wave, (height, width) float32, with a root mean square of `strength`."""
        values = self.values(height, width)
        # A wave that alternates from place to place is, with some phases, nearly 0 everywhere.
        return strength * values / values.square().mean().sqrt().clamp(min=1e-3)


def frequencies(height: int, width: int) -> list[tuple[int, int]]:
    """Return the frequencies that a grid can show, each once, as (cycles down, cycles across)."""
    down, across = (min(CYCLES, side // 2) for side in (height, width))
    seen: dict[tuple[int, int], tuple[int, int]] = {}
    for v, u in itertools.product(range(down + 1), range(-across, across + 1)):
        # On a grid, a wave equals the wave in the opposite direction, and the wave with one more
        # cycle at each place.
        place, mirrored = (v % height, u % width), (-v % height, -u % width)
        if place != (0, 0):
            seen.setdefault(min(place, mirrored), (v, u))
    return list(seen.values())
