"""Two groups among the samples of one predicted class, and whether these really lie apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .arrays import Matrix, Vector
from .held_out_scores import held_out_scores
from .methods import PoolMethod
from .two_groups import TwoGroups, fit_two_groups

MIN_GROUP = 8
"""The fewest triggered samples that a build takes."""

LEAST = 2 * MIN_GROUP
"""Samples of a class that may be two groups."""

ROUNDS = 4


@dataclass(frozen=True)
class ClassGroups:
    """The samples of one predicted class, scored.

    Attributes:
        scores: what the method says of each, (n,).
        groups: the two that they are likeliest to be, whether or not these lie apart; None where
            the samples are too few or all alike, or one group has fewer than `MIN_GROUP`.
    """

    scores: Vector
    groups: TwoGroups | None

    def apart(self, max_overlap: float, min_gain: float) -> npt.NDArray[np.bool_] | None:
        """Return which samples belong to the second group, (n,) bool; None where there is no gap.

        Args:
            max_overlap: share of samples that may lie on the wrong side of it.
            min_gain: of the Bayesian information criterion, for each sample.
        """
        found = self.groups
        if found is not None and found.overlap <= max_overlap and found.gain >= min_gain:
            return found.upper
        return None


def find_class_groups(
    features: Matrix, clean: Matrix | None, method: PoolMethod, seed: int
) -> ClassGroups:
    """Score the samples of a predicted class and find the two groups that they may be.

    The two groups of the scores are a guess. From it, discriminants score the samples that they
    were not fitted on, and the two groups of these scores are the next guess. A class that was only
    cut in two has no gap there: beyond the cut, samples follow.

    Args:
        features: last-layer features of the class, (n, D).
        clean: those of clean samples predicted as it, (m, D), or None.
        method: that scores.
        seed: of the random numbers.
    """
    if len(features) < LEAST or not np.ptp(features, axis=0).any():
        return ClassGroups(np.zeros(len(features)), None)
    scores = method(features, clean, seed)
    found = fit_two_groups(scores, seed)
    guess = found.upper
    for _ in range(ROUNDS):
        if not _are_enough(guess):
            break
        found = fit_two_groups(held_out_scores(features, guess, seed), seed)
        before, guess = guess, found.upper
        if np.array_equal(before, guess):
            break
    return ClassGroups(scores, found if _are_enough(guess) else None)


def _are_enough(upper: npt.NDArray[np.bool_]) -> bool:
    return min(int(upper.sum()), int((~upper).sum())) >= MIN_GROUP
