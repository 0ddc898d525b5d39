"""Whether scores come from one group of samples or from two that lie apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.mixture import GaussianMixture

from .arrays import Vector

STARTS = 5
GRID = 200


@dataclass(frozen=True)
class TwoGroups:
    """Scores as a mixture of two normal distributions.

    Attributes:
        gain: by how much two explain the scores better than one: the difference of the Bayesian
            information criteria, for each sample.
        overlap: the share of samples that are expected to be put into the wrong group.
        upper: whether a score lies above the deepest point between the two means, (n,) bool.
    """

    gain: float
    overlap: float
    upper: npt.NDArray[np.bool_]


def fit_two_groups(scores: Vector, seed: int) -> TwoGroups:
    """Fit one and two normal distributions to scores, (n,) with n > 1.

    Args:
        scores: of the samples of one class.
        seed: of the random starts.
    """
    column = ((scores - scores.mean()) / max(scores.std(), 1e-12))[:, None]
    one = GaussianMixture(1).fit(column)
    two = GaussianMixture(2, n_init=STARTS, random_state=seed).fit(column)
    low, high = sorted(two.means_[:, 0])
    places = np.linspace(low, high, GRID)
    deepest = places[two.score_samples(places[:, None]).argmin()]
    return TwoGroups(
        gain=float(one.bic(column) - two.bic(column)) / len(column),
        overlap=float((1 - two.predict_proba(column).max(1)).mean()),
        upper=column[:, 0] > deepest,
    )
