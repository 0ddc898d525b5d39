"""The threshold of a detector, given what a repair does to the samples that are flagged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..samples.both import Both

CLEAN_WEIGHT = 8.0
"""Weight of a lost clean sample, relative to a triggered sample that is not recovered."""

FLAG_COST = 0.1
"""Cost of flagging a clean sample if its repair does no harm: flagging takes a second pass, and is
a false alarm. Ten flagged clean samples are as bad as one lost clean sample.

Among weights of 1, 2, 4, 8 and costs of .01, .03, .1, these two are the largest that cost no
recovered accuracy on the development images of the benchmark's WaNet and BPP victims."""

MAX_FLAGGED = 0.003
"""Share of the clean samples that may be expected to be flagged if the trigger is guessed.

From some hundred samples, the share is known badly: on the development images of the benchmark's
victims, some bundles flagged more samples than expected. With a smaller share, fewer of WaNet's
triggered samples were detected.
"""

GRID = 200

FEW = 5
"""If fewer clean samples than this may be flagged, they do not show how far their scores spread,
nor what a repair does to them. All clean samples are then used for that."""

OUTLIER = 3.0
"""Standard deviation of where the next sample might lie, in standard deviations of the samples
seen."""

TOLERANCE = 1e-3
"""Worths that differ by less are equal: the samples cannot show a tenth of a point."""


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
    """The possible thresholds of a detector, from which `choose` takes the best for a repair.

    Future samples will not have exactly the scores of these samples. So each score stands for a
    neighbourhood of scores (a normal kernel of Silverman's width). A wide gap between clean and
    triggered scores is therefore worth more than a narrow one, and the threshold lies away from
    both.

    Args:
        scores: of the held-out clean (N,) and triggered samples (M,).
        eligible: which of these samples may be flagged at all, (N,) and (M,) bool.
        guessed: whether the triggers are guesses. The attacker's trigger may score higher or lower
            than these, so the threshold is as near to the clean scores as `MAX_FLAGGED` allows.
    """

    def __init__(
        self, scores: Both[Tensor], eligible: Both[Tensor], *, guessed: bool = False
    ) -> None:
        self._guessed = guessed
        self._eligible = eligible
        clean, triggered = scores.clean[eligible.clean], scores.triggered[eligible.triggered]
        self._scores = Both(clean, triggered)
        seen = torch.cat([clean if len(clean) else scores.clean, triggered])
        self._grid = torch.linspace(float(seen.min()), float(seen.max()), GRID)
        # If few clean samples may be flagged, all clean samples show how far scores spread.
        self._like = Both(scores.clean if len(clean) < FEW else clean, triggered)
        every = eligible.map(lambda which: torch.ones(1, len(which), dtype=torch.bool))
        self._flagged = self.flagged_among(every).map(lambda shares: shares[0])

    @property
    def flagged(self) -> Both[Tensor]:
        """Shares of all clean and of all triggered samples that each threshold flags, (GRID,)."""
        return self._flagged

    def flagged_among(self, among: Both[Tensor]) -> Both[Tensor]:
        """Return the shares that each threshold flags, as sets of the samples show them.

        Args:
            among: the samples of each set, (S, N) and (S, M) bool.

        Returns:
            Shares of all clean and of all triggered samples, (S, GRID).
        """
        return Both(
            *(
                self._count_flagged(scores, like, which[:, eligible]) / which.sum(1, keepdim=True)
                for scores, like, which, eligible in zip(
                    self._scores, self._like, among, self._eligible, strict=True
                )
            )
        )

    def _count_flagged(self, scores: Tensor, like: Tensor, among: Tensor) -> Tensor:
        """Return how many samples of each set each threshold is expected to flag, (S, GRID).

        Args:
            scores: of the samples, (n,).
            like: scores with the same spread.
            among: the samples of each set, (S, n) bool.
        """
        # One unseen sample: its score is at the low end in half of the cases, else anywhere.
        unseen = torch.linspace(0.5, 0, GRID).expand(len(among), GRID)
        if len(scores) == 0:
            return unseen
        # A width of 0 (all scores equal) would divide by it.
        deviation = max(float(like.std(correction=0)), 1e-6)
        width = 1.06 * deviation * len(scores) ** -0.2
        taken = among.float()
        n = taken.sum(1, keepdim=True)
        flagged = taken @ torch.special.ndtr((scores[:, None] - self._grid) / width)
        mean = (taken @ scores)[:, None] / n.clamp(min=1)
        outlier = torch.special.ndtr((mean - self._grid) / (OUTLIER * deviation))
        return torch.where(n > 0, n * (flagged + outlier) / (n + 1), unseen)

    def choose(self, clean_gain: float, triggered_gain: float) -> Threshold:
        """Choose the threshold that is worth most with a repair.

        Args:
            clean_gain: mean accuracy of flagged clean samples after the repair, minus that before
                the repair, in [-1, 1].
            triggered_gain: the same of flagged triggered samples.
        """
        return self.best(self.worth(Both(clean_gain, triggered_gain), self._flagged))

    def worth(self, gains: Both[float] | Both[Tensor], flagged: Both[Tensor]) -> Tensor:
        """Return what each threshold is worth; -inf if it may not be chosen.

        Args:
            gains: as in `choose`; tensors (..., 1).
            flagged: the shares of all clean and of all triggered samples that each threshold flags,
                (..., GRID).

        Returns:
            (..., GRID) float32.
        """
        worth: Tensor = CLEAN_WEIGHT * (gains.clean - FLAG_COST) * flagged.clean
        worth = worth + gains.triggered * flagged.triggered
        if not self._guessed:
            return worth
        allowed = flagged.clean <= MAX_FLAGGED
        nearest = torch.where(allowed.any(-1), allowed.int().argmax(-1), GRID - 1)
        return worth.masked_fill(torch.arange(GRID) != nearest[..., None], -math.inf)

    def best(self, worth: Tensor) -> Threshold:
        """Return the best of the thresholds, given what each is worth, (GRID,)."""
        # Thresholds of equal worth lie in a gap; the middle of the gap is the safest place.
        equal = (worth >= worth.max() - TOLERANCE).tolist()
        first = last = int(worth.argmax())
        while first > 0 and equal[first - 1]:
            first -= 1
        while last < GRID - 1 and equal[last + 1]:
            last += 1
        return Threshold(float(self._grid[first] + self._grid[last]) / 2, float(worth.max()))


class WorthBound:
    """The highest worth that a repair may have, with any detector and any threshold.

    Args:
        thresholds: those of the detectors, one or more.
    """

    def __init__(self, thresholds: Sequence[Thresholds]) -> None:
        self._flagged = Both(
            torch.stack([of_detector.flagged.clean for of_detector in thresholds]),
            torch.stack([of_detector.flagged.triggered for of_detector in thresholds]),
        )

    def of(self, clean_gain: float, triggered_gain: float) -> float:
        """Return the highest worth, for gains as in `Thresholds.choose`."""
        worth = CLEAN_WEIGHT * (clean_gain - FLAG_COST) * self._flagged.clean
        return float((worth + triggered_gain * self._flagged.triggered).max())
