"""A patch at other places than where it was found.

A search ends at one place, also where the attacker's patch works at any. What tells the one found
need not tell it elsewhere, so that a trigger that leads from other places, too, is put there.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .input_hash import input_hash
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
    found, target = reconstruction.stamp, reconstruction.target
    others = subject.others(target)
    if subject.success(_put(found, others, _elsewhere(others)), target) < LEADS:
        return reconstruction

    def stamp(inputs: Tensor) -> Tensor:
        return _put(found, inputs, _elsewhere(inputs).where(input_hash(inputs) >= 0.5, 0))

    return replace(reconstruction, stamp=stamp, success=subject.success(stamp(others), target))


def _elsewhere(inputs: Tensor) -> Tensor:
    """Return by how many places to move what is put on inputs (N, C, H, W), (N,) from 1 on.

    Places are counted row by row.
    """
    height, width = inputs.shape[2:]
    # Not by the first bit, which says whether it is moved at all.
    drawn = (2 * input_hash(inputs)).remainder(1)
    return 1 + (drawn * (height * width - 1)).long()


def _put(stamp: Stamp, inputs: Tensor, places: Tensor) -> Tensor:
    """Stamp inputs (N, C, H, W), each so many places, (N,), on; what passes an edge comes back."""
    width = inputs.shape[3]
    down, across = places // width, places % width
    return _roll(stamp(_roll(inputs, -down, -across)), down, across)


def _roll(inputs: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return inputs (N, C, H, W), each shifted by its places down and across, (N,) int64."""
    height, width = inputs.shape[2:]
    rows = (torch.arange(height) - down[:, None]) % height
    columns = (torch.arange(width) - across[:, None]) % width
    each = torch.arange(len(inputs))[:, None, None]
    rolled = inputs.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]
    return rolled.permute(0, 3, 1, 2).contiguous()
