"""Where to put the threshold of a detecting layer, given what a repair does to whom it flags."""

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
        clean: scores of the held-out clean samples, (N,).
        triggered: of the triggered ones, (M,).
        eligible: which clean (N,) and triggered samples (M,) may be flagged at all, bool.
        guessed: whether the triggers are guesses. The attacker's may show more or less than these,
            so the threshold comes as near to the clean scores as `MAX_FLAGGED` allows.
    """

    def __init__(
        self,
        clean: Tensor,
        triggered: Tensor,
        eligible: tuple[Tensor, Tensor],
        *,
        guessed: bool = False,
    ) -> None:
        self._guessed = guessed
        among = eligible[0] if bool(eligible[0].any()) else torch.ones_like(eligible[0])
        seen = torch.cat([clean[among], triggered[eligible[1]]])
        self._grid = torch.linspace(float(seen.min()), float(seen.max()), GRID)
        # Share of all clean, and of all triggered, samples that each one flagged is: (GRID, n).
        like = clean if int(eligible[0].sum()) < FEW else clean[eligible[0]]
        self._flagged = (
            self._share_flagged(clean[eligible[0]], like) / len(clean),
            self._share_flagged(triggered[eligible[1]], triggered[eligible[1]]) / len(triggered),
        )

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
        worth = CLEAN_WEIGHT * (clean_gain - FLAG_COST) * self._flagged[0]
        worth += triggered_gain * self._flagged[1]
        if self._guessed:
            allowed = (self._flagged[0] <= MAX_FLAGGED).nonzero().flatten()
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
