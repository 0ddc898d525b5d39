"""Whether scores come from one group of samples or from two that lie apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.mixture import GaussianMixture

from .arrays import Vector

STARTS = 3


@dataclass(frozen=True)
class TwoGroups:
    """Scores as a mixture of two normal distributions.

    Attributes:
        gain: how much better two distributions explain the scores than one: the difference of the
            Bayesian information criteria, for each sample.
        overlap: the share of samples that are expected to be put into the wrong group.
        upper: which samples more likely belong to the group of the higher mean, (n,) bool.
    """

    gain: float
    overlap: float
    upper: npt.NDArray[np.bool_]


def fit_two_groups(scores: Vector, seed: int) -> TwoGroups:
    """Fit one and two normal distributions to the scores of a class, (n,) with n > 1.

    Args:
        scores: the scores, on any scale.
        seed: of the random starts.
    """
    column = ((scores - scores.mean()) / max(scores.std(), 1e-12))[:, None]
    one = GaussianMixture(1, random_state=seed).fit(column)
    two = GaussianMixture(2, n_init=STARTS, random_state=seed).fit(column)
    probabilities: Vector = two.predict_proba(column)
    low, high = np.sort(two.means_[:, 0])
    likelier = probabilities[:, two.means_[:, 0].argmax()] > 0.5
    # Far out on either side, the wider distribution is likelier, even on the wrong side.
    upper = (likelier & (column[:, 0] > low)) | (column[:, 0] >= high)
    return TwoGroups(
        gain=float(one.bic(column) - two.bic(column)) / len(column),
        overlap=float((1 - probabilities.max(1)).mean()),
        upper=upper,
    )
