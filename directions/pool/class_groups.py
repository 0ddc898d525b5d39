"""Two groups among the samples of one predicted class, where these really lie apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .arrays import Matrix, Vector
from .held_out_scores import held_out_scores
from .methods import Method
from .two_groups import fit_two_groups

MIN_GROUP = 8
"""The fewest triggered samples that a build takes."""

LEAST = 2 * MIN_GROUP
"""Samples of a class that may be two groups."""

MAX_OVERLAP = 0.025
"""Share of samples that may lie on the wrong side of the gap."""

MIN_GAIN = 0.25
"""Of the Bayesian information criterion, for each sample. On development images of the
benchmark's victims, classes with triggered samples come to .4 and more with nearly every method;
hardly any other class comes to this together with so little overlap."""

ROUNDS = 4


@dataclass(frozen=True)
class ClassGroups:
    """The samples of one predicted class, scored.

    Attributes:
        scores: what the method says of each, (n,).
        upper: which belong to the second of two groups, (n,) bool; None where there are no two
            groups that lie apart.
    """

    scores: Vector
    upper: npt.NDArray[np.bool_] | None


def find_class_groups(
    features: Matrix, clean: Matrix | None, method: Method, seed: int
) -> ClassGroups:
    """Score the samples of a predicted class and see whether they are two groups.

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
    apart = _are_enough(guess) and found.overlap <= MAX_OVERLAP and found.gain >= MIN_GAIN
    return ClassGroups(scores, found.upper if apart else None)


def _are_enough(upper: npt.NDArray[np.bool_]) -> bool:
    return min(int(upper.sum()), int((~upper).sum())) >= MIN_GROUP
