"""A patch at other places than where it was found.

A search ends at one place, even if the attacker's patch works at any place. A detector that is
built from this place may miss the patch elsewhere. So a patch that also leads from other places is
put there, too.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .input_hash import input_hash
from .reconstruction import Reconstruction, Stamp
from .subject import Subject

LEADS = 0.5
"""Share of clean inputs that the patch must lead to the target from other places."""


def moved_where_it_leads(reconstruction: Reconstruction, subject: Subject) -> Reconstruction:
    """Return the patch at other places on every other input; unchanged if it does not lead there.

    The place depends only on the input. At many places, the image's edge cuts a large patch in two:
    its parts then lie at opposite edges, and the success counts what these parts do.

    Args:
        reconstruction: a patch, for maps (C, H, W).
        subject: the model, with the inputs to try the patch on.
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
    """Return by how many places to move the patch on each of the inputs (N, C, H, W), (N,).

    Places are counted row by row, from 1 on.
    """
    height, width = inputs.shape[2:]
    # The first bit is not used: it decides whether the patch is moved at all.
    drawn = (2 * input_hash(inputs)).remainder(1)
    return 1 + (drawn * (height * width - 1)).long()


def _put(stamp: Stamp, inputs: Tensor, places: Tensor) -> Tensor:
    """Stamp inputs (N, C, H, W), moved by `places` (N,); what passes an edge enters opposite."""
    width = inputs.shape[3]
    down, across = places // width, places % width
    return _roll(stamp(_roll(inputs, -down, -across)), down, across)


def _roll(inputs: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return inputs (N, C, H, W), each shifted by its places down and across, (N,) int64."""
    height, width = inputs.shape[2:]
    rows = (torch.arange(height) - down[:, None]) % height
    columns = (torch.arange(width) - across[:, None]) % width
    samples = torch.arange(len(inputs))[:, None, None]
    rolled = inputs.permute(0, 2, 3, 1)[samples, rows[:, :, None], columns[:, None, :]]
    return rolled.permute(0, 3, 1, 2).contiguous()
