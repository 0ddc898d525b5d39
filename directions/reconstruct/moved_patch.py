"""A patch at other places than where it was found.

A search ends at one place, also where the attacker's patch works at any. What tells the one found
need not tell it elsewhere, so that a trigger that leads from other places, too, is put there.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    Where it lies hangs on the input alone.

    Args:
        reconstruction: a patch, for maps (C, H, W).
        subject: the model, with the inputs to try it on.
    """
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
        # Not the bit that says whether it is moved at all.
        drawn = (2 * own_draw(inputs)).remainder(1) * height * width
        shifts = [divmod(int(place), width) for place in drawn]
        back = [(-down, -across) for down, across in shifts]
        return _roll(stamp(_roll(inputs, back)), shifts)

    return moved


def _roll(inputs: Tensor, shifts: Sequence[tuple[int, int]]) -> Tensor:
    """Return inputs (N, C, H, W), each shifted down and across."""
    return torch.stack([one.roll(shift, (1, 2)) for one, shift in zip(inputs, shifts, strict=True)])
