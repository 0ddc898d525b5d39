"""Activation Clustering: two clusters among the last-layer features of a class.

Chen et al., "Detecting Backdoor Attacks on Deep Neural Networks by Activation Clustering" (2018):
samples that are called the same for different reasons, because of what they show or because of a
trigger, lie in different places. The features of a class are reduced to ten dimensions and
clustered by k-means with two clusters.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from .arrays import Matrix, Vector

COMPONENTS = 10
"""As in the paper."""

STARTS = 10


def activation_clustering(
    features: Matrix, clean: Matrix | None, seed: int, components: int = COMPONENTS
) -> Vector:
    """Score the samples of one predicted class by which of two clusters they are nearer to.

    What differs from the paper: it reduces to independent components. These come with the same
    variance each, so that noise counts as much as what sets the clusters apart; principal ones
    keep the features' distances. And it calls a class poisoned where one cluster is much the
    smaller, or the silhouette high. In logged traffic the triggered samples of the target may be as
    many as its own; whether the clusters lie apart, and which one is triggered, is judged alike for
    all methods (`pool.split`).

    It needs nothing but the features, and takes less than a second for each class.

    Args:
        features: of the class, (n, D) with n > 1.
        clean: not used.
        seed: of the random starts.
        components: that the features are reduced to.

    Returns:
        Where each sample lies on the line between the two centres, (n,).
    """
    reduced: Matrix = PCA(min(components, *features.shape), random_state=seed).fit_transform(
        features
    )
    first, second = KMeans(2, n_init=STARTS, random_state=seed).fit(reduced).cluster_centers_
    line = second - first
    scores: Vector = (reduced - (first + second) / 2) @ line / max(np.linalg.norm(line), 1e-12)
    return scores
