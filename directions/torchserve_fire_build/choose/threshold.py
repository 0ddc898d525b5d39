"""Where to put the threshold of a detecting layer, given what a repair does to whom it flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..samples.both import Both

CLEAN_WEIGHT = 8.0
"""What a lost clean sample counts against a triggered one that is not recovered."""

FLAG_COST = 0.1
"""What flagging a clean sample counts where its repair does no harm: it takes a second pass, and
is a false alarm. Ten of these are as bad as one clean sample lost.

Of 1, 2, 4, 8 and of .01, .03, .1 these are the largest that cost no recovered accuracy on the
development images of the benchmark's WaNet and BPP victims."""

MAX_FLAGGED = 0.003
"""Share of the clean samples that may be expected to be flagged, where the trigger is guessed.

Of some hundred samples it is known badly: on the development images of the benchmark's victims,
some flagged more than were expected. With a smaller share, fewer of WaNet's triggered samples were
told.
"""

GRID = 200

FEW = 5
"""Of fewer clean samples that may be flagged, nobody knows how far their scores spread, nor what a
repair does to them: the other clean samples then say so."""

OUTLIER = 3.0
"""Standard deviations, in those of the samples seen, of where the next one might lie."""

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


class Thresholds:
    """The thresholds that a detecting layer may have, to be weighed for one repair after another.

    A score stands for a neighbourhood of scores (a normal kernel of Silverman's width), since the
    samples to come do not have exactly these; so a wide gap between clean and triggered scores is
    worth more than a narrow one, and the threshold comes to lie away from both.

    Args:
        scores: of the held-out clean (N,) and triggered samples (M,).
        eligible: which of them may be flagged at all, (N,) and (M,) bool.
        guessed: whether the triggers are guesses. The attacker's may show more or less than these,
            so the threshold comes as near to the clean scores as `MAX_FLAGGED` allows.
    """

    def __init__(
        self, scores: Both[Tensor], eligible: Both[Tensor], *, guessed: bool = False
    ) -> None:
        self._guessed = guessed
        clean, triggered = scores.clean[eligible.clean], scores.triggered[eligible.triggered]
        seen = torch.cat([clean if len(clean) else scores.clean, triggered])
        self._grid = torch.linspace(float(seen.min()), float(seen.max()), GRID)
        # Of few clean samples that may be flagged, all say how far the scores spread.
        like = scores.clean if len(clean) < FEW else clean
        # Share of all clean, and of all triggered, samples that is expected to be flagged: (GRID,).
        self._flagged = Both(
            self._share_flagged(clean, like) / len(scores.clean),
            self._share_flagged(triggered, triggered) / len(scores.triggered),
        )

    @property
    def flagged(self) -> Both[Tensor]:
        """Share of all clean, and of all triggered samples that each threshold flags, (GRID,)."""
        return self._flagged

    def _share_flagged(self, scores: Tensor, like: Tensor) -> Tensor:
        """Return how many of the samples each threshold is expected to flag, (GRID,).

        Args:
            scores: of the samples, (n,).
            like: scores that are spread as theirs are.
        """
        if len(scores) == 0:
            # One that nobody has seen: like the others, or anywhere between.
            return torch.linspace(0.5, 0, GRID)
        # A width of 0 (all scores equal) would divide by it.
        deviation = max(float(like.std(correction=0)), 1e-6)
        width = 1.06 * deviation * len(scores) ** -0.2
        flagged: Tensor = torch.special.ndtr((scores[None] - self._grid[:, None]) / width).mean(1)
        outlier = torch.special.ndtr((scores.mean() - self._grid) / (OUTLIER * deviation))
        n = len(scores)
        together: Tensor = n * (n * flagged + outlier) / (n + 1)
        return together

    def choose(self, clean_gain: float, triggered_gain: float) -> Threshold:
        """Choose the threshold with the highest expected gain under a repair.

        Args:
            clean_gain: mean accuracy of flagged clean samples after the repair minus that before
                it, in [-1, 1].
            triggered_gain: likewise, of flagged triggered samples.
        """
        worth = CLEAN_WEIGHT * (clean_gain - FLAG_COST) * self._flagged.clean
        worth += triggered_gain * self._flagged.triggered
        if self._guessed:
            allowed = (self._flagged.clean <= MAX_FLAGGED).nonzero().flatten()
            nearest = int(allowed[0]) if len(allowed) else GRID - 1
            return Threshold(float(self._grid[nearest]), float(worth[nearest]))
        # Thresholds of equal worth lie in a gap: its middle is the safest place.
        equal = (worth >= worth.max() - TOLERANCE).tolist()
        first = last = int(worth.argmax())
        while first > 0 and equal[first - 1]:
            first -= 1
        while last < GRID - 1 and equal[last + 1]:
            last += 1
        return Threshold(float(self._grid[first] + self._grid[last]) / 2, float(worth.max()))


class WorthBound:
    """What a repair may be worth at most, with whatever detector and threshold.

    Args:
        thresholds: of the detectors, one at least.
    """

    def __init__(self, thresholds: Sequence[Thresholds]) -> None:
        self._flagged = Both(
            torch.stack([each.flagged.clean for each in thresholds]),
            torch.stack([each.flagged.triggered for each in thresholds]),
        )

    def of(self, clean_gain: float, triggered_gain: float) -> float:
        """Return the highest worth, with gains as `Thresholds.choose` takes them."""
        worth = CLEAN_WEIGHT * (clean_gain - FLAG_COST) * self._flagged.clean
        return float((worth + triggered_gain * self._flagged.triggered).max())
