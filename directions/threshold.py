"""Where to put the threshold of a telling layer, given what a repair does to whom it flags."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CLEAN_WEIGHT = 8.0
"""What a lost clean sample counts against a triggered one that is not recovered."""

FLAG_COST = 0.1
"""What flagging a clean sample counts where its repair does no harm: it takes a second pass, and
is a false alarm. Ten of these are as bad as one clean sample lost.

Of 1, 2, 4, 8 and of .01, .03, .1 these are the largest that cost no recovered accuracy on the
development images of the benchmark's WaNet and BPP victims."""

GRID = 200

FEW = 5
"""Of fewer clean samples that may be flagged, nobody knows where their like will lie: anywhere
between the scores, with a weight of up to one sample."""

TOLERANCE = 1e-3
"""Worths that differ by less are equal: a tenth of a point is beyond what the samples can say."""


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it is worth.

    Attributes:
        value: a score above it is flagged.
        worth: expected accuracy of triggered samples plus `CLEAN_WEIGHT` times that of clean ones.
    """

    value: float
    worth: float


@dataclass(frozen=True)
class Judged:
    """Held-out samples of one kind as a telling layer and a repair see them.

    Attributes:
        scores: (N,).
        eligible: which may be flagged at all, (N,) bool.
        gain: accuracy after the repair minus accuracy before it, (N,) in [-1, 1].
    """

    scores: Tensor
    eligible: Tensor
    gain: Tensor


def choose_threshold(clean: Judged, triggered: Judged) -> Threshold:
    """Choose the threshold with the highest expected gain.

    A score stands for a neighbourhood of scores (a normal kernel of Silverman's width), since the
    samples to come do not have exactly these; so a wide gap between clean and triggered scores is
    worth more than a narrow one, and the threshold comes to lie away from both.
    """
    groups = (clean, clean.gain - FLAG_COST, CLEAN_WEIGHT), (triggered, triggered.gain, 1.0)
    among = clean.eligible if bool(clean.eligible.any()) else torch.ones_like(clean.eligible)
    seen = torch.cat([clean.scores[among], triggered.scores[triggered.eligible]])
    grid = torch.linspace(float(seen.min()), float(seen.max()), GRID)
    unknown = max(0.0, 1 - int(clean.eligible.sum()) / FEW) / len(clean.scores)
    worth = -CLEAN_WEIGHT * unknown * torch.linspace(1, 0, GRID)
    for group, gain, weight in groups:
        scores = group.scores[group.eligible]
        if len(scores) == 0:
            continue
        # A width of 0 (all scores equal) would divide by it.
        width = max(1.06 * float(scores.std(correction=0)) * len(scores) ** -0.2, 1e-6)
        flagged = torch.special.ndtr((scores[None] - grid[:, None]) / width)
        worth += weight * (flagged * gain[group.eligible]).sum(1) / len(gain)
    # Thresholds of equal worth lie in a gap: its middle is the safest place.
    equal = worth >= worth.max() - TOLERANCE
    first = last = int(worth.argmax())
    while first > 0 and equal[first - 1]:
        first -= 1
    while last < GRID - 1 and equal[last + 1]:
        last += 1
    return Threshold(float(grid[first] + grid[last]) / 2, float(worth.max()))
