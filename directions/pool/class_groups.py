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

MAX_OVERLAP = 0.025
"""Share of samples on the wrong side of the gap, at most."""

MIN_GAIN = 0.25

ROUNDS = 10


@dataclass(frozen=True)
class ClassGroups:
    """The samples of one predicted class, scored.

    Attributes:
        scores: what the method says of each, (n,).
        upper: which belong to the group of higher scores, (n,) bool; None where there are no two
            groups that lie apart.
    """

    scores: Vector
    upper: npt.NDArray[np.bool_] | None


def find_class_groups(
    features: Matrix, clean: Matrix | None, method: Method, seed: int
) -> ClassGroups:
    """Score the samples of a predicted class and see whether they are two groups.

    The scores' two groups are a guess. From it, a discriminant scores the samples that it was not
    fitted on, and the two groups of these scores are the next guess, until it stays. The groups of
    a class that only a cut separates do not survive that, since beyond the cut samples follow
    without a gap.

    Args:
        features: last-layer features of the class, (n, D).
        clean: those of clean samples predicted as it, (m, D), or None.
        method: that scores.
        seed: of the random numbers.
    """
    if len(features) < 2 * MIN_GROUP:
        return ClassGroups(np.zeros(len(features)), None)
    scores = method(features, clean, seed)
    upper = fit_two_groups(scores, seed).upper
    for _ in range(ROUNDS):
        if min(upper.sum(), (~upper).sum()) < MIN_GROUP:
            return ClassGroups(scores, None)
        found = fit_two_groups(held_out_scores(features, upper, seed), seed)
        if np.array_equal(found.upper, upper):
            break
        upper = found.upper
    apart = found.overlap <= MAX_OVERLAP and found.gain >= MIN_GAIN
    return ClassGroups(scores, upper if apart else None)
