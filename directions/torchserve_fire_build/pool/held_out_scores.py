"""Scores that tell two groups apart, each of a discriminant that did not see the sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold

from .arrays import Matrix, Vector

COMPONENTS = 50
FOLDS = 4


def held_out_scores(features: Matrix, groups: npt.NDArray[np.bool_], seed: int) -> Vector:
    """Project each sample on Fisher's discriminant of the groups among the other folds' samples.

    Groups that are cut out of one cloud do not lie apart there; those that exist do. The
    discriminant has the covariance within the groups shrunk after Ledoit and Wolf.

    Args:
        features: (n, D).
        groups: (n,) bool, with at least `FOLDS` samples of each.
        seed: of the folds.

    Returns:
        The projections, (n,): -1 is the mean of the first group that they were fitted on, 1 that
        of the second.
    """
    components = min(COMPONENTS, *features.shape)
    reduced = PCA(components, random_state=seed).fit_transform(features)
    scores = np.zeros(len(features))
    for seen, held in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(
        reduced, groups
    ):
        fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        line = fitted.fit(reduced[seen], groups[seen]).coef_[0]
        first, second = (reduced[seen][groups[seen] == each].mean(0) for each in (False, True))
        half = max(float((second - first) @ line) / 2, 1e-12)
        scores[held] = (reduced[held] - (first + second) / 2) @ line / half
    return scores
