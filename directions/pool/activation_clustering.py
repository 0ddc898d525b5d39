"""Activation Clustering: two clusters among the last-layer features of a class.

Chen et al., "Detecting Backdoor Attacks on Deep Neural Networks by Activation Clustering" (2018):
samples that are called the same for different reasons, because of what they show or because of a
trigger, lie in different places. The features of a class are reduced to ten independent components
and clustered by k-means with two clusters.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, FastICA
from sklearn.exceptions import ConvergenceWarning

from .arrays import Matrix, Vector

COMPONENTS = 10
"""As in the paper."""

MAX_ITERATIONS = 500


def activation_clustering(features: Matrix, clean: Matrix | None, seed: int) -> Vector:
    """Score the samples of one predicted class by which of two clusters they are nearer to.

    The paper calls a class poisoned where one cluster is much the smaller, and has its clusters'
    silhouette looked at. In a pool of logged traffic the triggered samples of the target class may
    be as many as its own; whether the clusters are apart, and which one is triggered, is judged as
    for all methods (`directions.pool.split`).

    It needs nothing but the features, and takes a second or less for each class.

    Args:
        features: of the class, (n, D) with n > 1.
        clean: not used.
        seed: of the random starts.

    Returns:
        Where each sample lies on the line between the two centres, (n,).
    """
    reduced = _reduce(features, seed)
    first, second = KMeans(2, n_init=10, random_state=seed).fit(reduced).cluster_centers_
    line = second - first
    scores: Vector = (reduced - (first + second) / 2) @ line / max(np.linalg.norm(line), 1e-12)
    return scores


def _reduce(features: Matrix, seed: int) -> Matrix:
    """Return independent components of the features; principal ones where these are not found."""
    rank = int(np.linalg.matrix_rank(features - features.mean(0)))
    components = min(COMPONENTS, rank)
    if components > 1:
        reduction = FastICA(
            components, whiten="unit-variance", max_iter=MAX_ITERATIONS, random_state=seed
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            reduced: Matrix = reduction.fit_transform(features)
        if not any(issubclass(each.category, ConvergenceWarning) for each in caught):
            return reduced
    principal: Matrix = PCA(max(components, 1), random_state=seed).fit_transform(features)
    return principal
