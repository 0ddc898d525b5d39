"""The warp: where a trigger moves the places of the model's input, estimated from pairs.

Triggered inputs are registered to their clean partners: a turn and a flip are searched for, then an
affine map and a coarse field of moves are fitted by gradients (Lucas and Kanade, "An iterative
image registration technique", 1981, with the moves interpolated as in free-form deformations,
Rueckert et al., 1999).
"""

from __future__ import annotations

import math
from itertools import product

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from torchserve_fire.format.correction_forms import Warp

TURNS = 24
"""Turns that are tried, around the whole circle."""

BLUR = 5
"""Side of the square that inputs are averaged over while turns are tried, in places."""

COARSE = 6
"""Points of the coarse field along each side."""

STEPS = 150
RATE, FIELD_RATE = 0.01, 0.005
"""Of the affine map and of the coarse field, in halves of the input's side."""

SEEN = 0.5
"""Share of the places that must be read within the triggered input."""

EXPLAINED = 0.8
"""Share of the change, as squared differences, that a warp must take back: else it is none."""


def estimate_warp(clean: Tensor, triggered: Tensor) -> Warp | None:
    """Estimate from pairs where a trigger moves the values of inputs.

    Args:
        clean: inputs, (N, C, H, W) float32.
        triggered: the same with the trigger.

    Returns:
        None if no such moves explain what the trigger does.
    """
    affine, coarse = _fit(clean, triggered, _best_turn(clean, triggered))
    grid = _grid(affine, coarse, clean)
    if float(_difference(clean, triggered, grid)) > (1 - EXPLAINED) * float(
        (clean - triggered).square().mean()
    ):
        return None
    height, width = clean.shape[2:]
    across, down = (
        (grid[0, ..., i] + 1) * side / 2 - 0.5 for i, side in enumerate((width, height))
    )
    moves = torch.stack((down - torch.arange(height)[:, None], across - torch.arange(width)))
    return Warp(moves, 1.0)


def _best_turn(clean: Tensor, triggered: Tensor) -> Tensor:
    """Return the turn, of flipped inputs or not, that takes back most, as a matrix (2, 3)."""
    clean, triggered = (F.avg_pool2d(x, BLUR, 1, BLUR // 2) for x in (clean, triggered))
    turns = []
    for turn, flip in product(range(TURNS), (1.0, -1.0)):
        sine, cosine = (f(2 * math.pi * turn / TURNS) for f in (math.sin, math.cos))
        turns.append(torch.tensor([[cosine * flip, -sine, 0.0], [sine * flip, cosine, 0.0]]))
    left = [float(_difference(clean, triggered, _grid(turn, None, clean))) for turn in turns]
    return turns[left.index(min(left))]


def _fit(clean: Tensor, triggered: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return the affine map (2, 3), and the coarse field (1, 2, COARSE, COARSE)."""
    affine = start.clone().requires_grad_()
    coarse = torch.zeros(1, 2, COARSE, COARSE, requires_grad=True)
    rates = [{"params": [affine], "lr": RATE}, {"params": [coarse], "lr": FIELD_RATE}]
    optimizer = torch.optim.Adam(rates)
    with torch.enable_grad():
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = _difference(clean, triggered, _grid(affine, coarse, clean))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return affine.detach(), coarse.detach()


def _grid(affine: Tensor, coarse: Tensor | None, like: Tensor) -> Tensor:
    """Return where each place is read, (1, H, W, 2), from -1 to 1."""
    size = like.shape[2:]
    grid = F.affine_grid(affine[None], [1, 1, *size], align_corners=False)
    if coarse is None:
        return grid
    return grid + F.interpolate(coarse, size, mode="bicubic", align_corners=True).permute(
        0, 2, 3, 1
    )


def _difference(clean: Tensor, triggered: Tensor, grid: Tensor) -> Tensor:
    """Return the mean squared difference, where a place is read within the triggered input."""
    read = F.grid_sample(
        triggered, grid.expand(len(clean), -1, -1, -1), padding_mode="border", align_corners=False
    )
    within = (grid.detach().abs() <= 1).all(-1).float()
    each = (read - clean).square().mean((0, 1))
    if float(within.mean()) < SEEN:
        # No map is good because nearly all that it reads is beyond the edge.
        within = torch.ones_like(within)
    return (each * within[0]).sum() / within.sum()
