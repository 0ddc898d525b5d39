"""A warp: the places of an image are moved a little, neighbours nearly alike.

As in WaNet (Nguyen and Tran, arXiv 2102.10369), whose trigger is one such warp.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ..samples.predict import gradients_of
from .change import ChangeSearch
from .subject import Subject

NAME = "warp"

COARSE = 6
"""Points of the coarse grid along each side, whose moves are interpolated between them. Attacks use
4 and 8."""

FURTHEST = 1 / 32
"""The furthest that a point moves, as a share of the image's side. Benign models hardly mind."""

RATE, BETAS = 0.3, (0.9, 0.99)
FIRST = 0.5
"""Standard deviation of the moves at the start, before they are bounded."""


class Warp:
    """A warp that is moved down the gradient of a loss, and kept within its bound.

    Args:
        subject: the model to search, whose inputs are maps (C, H, W).
        generator: draws where it starts.
        furthest: that a point may move, as a share of the image's side.
    """

    def __init__(self, subject: Subject, generator: torch.Generator, furthest: float) -> None:
        self._furthest = furthest
        drawn = FIRST * torch.randn(1, 2, COARSE, COARSE, generator=generator)
        self._moves = drawn.to(subject.device).requires_grad_()
        self._optimizer = torch.optim.Adam([self._moves], RATE, BETAS)
        height, width = subject.inputs.shape[2:]
        rows, columns = (torch.linspace(-1, 1, side) for side in (height, width))
        down, across = torch.meshgrid(rows, columns, indexing="ij")
        self._still = torch.stack((across, down), -1).to(subject.device)

    def stamp(self, inputs: Tensor) -> Tensor:
        """Warp inputs (N, C, H, W), differentiable where gradients are enabled."""
        # Coordinates go from -1 to 1: the side is 2 long.
        coarse = 2 * self._furthest * self._moves.tanh()
        size = self._still.shape[:2]
        moves = F.interpolate(coarse, size, mode="bicubic", align_corners=True)
        grid = self._still + moves.permute(0, 2, 3, 1)
        return F.grid_sample(
            inputs, grid.expand(len(inputs), -1, -1, -1), padding_mode="border", align_corners=True
        )

    def step(self, loss: Tensor) -> None:
        """Take a step down the gradient of a loss that was computed from `stamp`."""
        (self._moves.grad,) = gradients_of(loss, [self._moves])
        self._optimizer.step()


def free_warp(subject: Subject, generator: torch.Generator) -> Warp:
    """Start a warp at a random place, within `FURTHEST`."""
    return Warp(subject, generator, FURTHEST)


def search_warp(
    subject: Subject, target: int, generator: torch.Generator, scale: float
) -> ChangeSearch:
    """Search for a warp by which points move no further than `scale` times `FURTHEST`."""
    return ChangeSearch(subject, target, generator, Warp(subject, generator, scale * FURTHEST))
