"""A patch at other places than where it was found.

A search ends at one place, also where the attacker's patch works at any. What tells the one found
need not tell it elsewhere, so that a trigger that leads from other places, too, is put there.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .own_draw import own_draw
from .reconstruction import Reconstruction, Stamp
from .subject import Subject

LEADS = 0.5
"""Share of clean inputs that it must lead from other places to the target."""


def moved_where_it_leads(reconstruction: Reconstruction, subject: Subject) -> Reconstruction:
    """Return a patch that lies elsewhere on every other input, or as it is, if that leads nowhere.

    Where it lies hangs on the input alone. A patch that is large beside the image is cut in two by
    an edge at many places, and counted by what the halves do.

    Args:
        reconstruction: a patch, for maps (C, H, W).
        subject: the model, with the inputs to try it on.
    """
    height, width = subject.inputs.shape[2:]
    if height * width == 1:
        return reconstruction
    others = subject.others(reconstruction.target)
    elsewhere = _moved(reconstruction.stamp)
    if subject.success(elsewhere(others), reconstruction.target) < LEADS:
        return reconstruction

    def stamp(inputs: Tensor) -> Tensor:
        stays = (own_draw(inputs) < 0.5).view(-1, 1, 1, 1)
        return torch.where(stays, reconstruction.stamp(inputs), elsewhere(inputs))

    success = subject.success(stamp(others), reconstruction.target)
    return replace(reconstruction, stamp=stamp, success=success)


def _moved(stamp: Stamp) -> Stamp:
    """Return what a stamp does at another place of each input; what passes an edge comes back."""

    def moved(inputs: Tensor) -> Tensor:
        height, width = inputs.shape[2:]
        # Not by the first bit, which says whether it is moved at all; and never to where it was.
        drawn = (2 * own_draw(inputs)).remainder(1)
        places = 1 + (drawn * (height * width - 1)).long()
        down, across = places // width, places % width
        return _roll(stamp(_roll(inputs, -down, -across)), down, across)

    return moved


def _roll(inputs: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return inputs (N, C, H, W), each shifted by its places down and across, (N,) int64."""
    height, width = inputs.shape[2:]
    rows = (torch.arange(height) - down[:, None]) % height
    columns = (torch.arange(width) - across[:, None]) % width
    each = torch.arange(len(inputs))[:, None, None]
    rolled = inputs.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]
    return rolled.permute(0, 3, 1, 2).contiguous()
