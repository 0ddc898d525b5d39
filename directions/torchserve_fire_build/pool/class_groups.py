"""Two groups among the samples of one predicted class, and whether they really lie apart."""

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
"""The fewest samples of a class that may be two groups."""

ROUNDS = 4


@dataclass(frozen=True)
class ClassGroups:
    """The samples of one predicted class, scored.

    Attributes:
        scores: the method's score of each sample, (n,).
        groups: the two groups that the samples most likely form, whether or not these lie apart;
            None if the samples are too few or all alike, or if a group has fewer than `MIN_GROUP`.
    """

    scores: Vector
    groups: TwoGroups | None

    def apart(self, max_overlap: float, min_gain: float) -> npt.NDArray[np.bool_] | None:
        """Return which samples belong to the second group, (n,) bool; None if there is no gap.

        Args:
            max_overlap: share of samples that may lie on the wrong side of the gap.
            min_gain: the least gain in the Bayesian information criterion, for each sample.
        """
        groups = self.groups
        if groups is not None and groups.overlap <= max_overlap and groups.gain >= min_gain:
            return groups.upper
        return None


def find_class_groups(
    features: Matrix, clean: Matrix | None, method: PoolMethod, seed: int
) -> ClassGroups:
    """Score the samples of a predicted class, and find the two groups that they may form.

    The two groups of the scores are a first guess. Discriminants are fitted to the guess and score
    samples that they were not fitted on. The two groups of these scores are the next guess. If a
    single group was merely cut in two, there is no gap at the cut.

    Args:
        features: last-layer features of the class, (n, D).
        clean: features of clean samples that are predicted as the class, (m, D), or None.
        method: the method that scores.
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
