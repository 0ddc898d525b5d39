"""Scores that separate two groups, each from a discriminant that did not see the sample."""

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
    """Project each sample on Fisher's discriminant of the groups, fitted on the other folds.

    Real groups lie apart in these scores; two halves of a single group do not. The discriminant's
    covariance within the groups is shrunk as by Ledoit and Wolf.

    Args:
        features: (n, D).
        groups: the group of each sample, (n,) bool, with at least `FOLDS` samples in each.
        seed: of the folds.

    Returns:
        The projections, (n,). The samples that a discriminant was fitted on have a mean of -1 in
        the first group, and of 1 in the second.
    """
    components = min(COMPONENTS, *features.shape)
    reduced = PCA(components, random_state=seed).fit_transform(features)
    scores = np.zeros(len(features))
    for seen, held in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(
        reduced, groups
    ):
        fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        line = fitted.fit(reduced[seen], groups[seen]).coef_[0]
        first, second = (reduced[seen][groups[seen] == group].mean(0) for group in (False, True))
        half = max(float((second - first) @ line) / 2, 1e-12)
        scores[held] = (reduced[held] - (first + second) / 2) @ line / half
    return scores
