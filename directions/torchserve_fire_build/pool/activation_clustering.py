"""Activation Clustering: two clusters among the last-layer features of a class.

Chen et al., "Detecting Backdoor Attacks on Deep Neural Networks by Activation Clustering" (2018):
samples may be predicted as the same class because of their content or because of a trigger, and
their features then lie in different places. The features of a class are reduced to ten dimensions
and clustered by k-means with two clusters.
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

    This differs from the paper in two ways. The paper reduces features to independent components.
    All of these have the same variance, so noise counts as much as what separates the clusters.
    Principal components, used here, keep the distances of the features. And the paper calls a class
    poisoned if one cluster is much smaller, or if the silhouette is high. But in logged traffic,
    the target may have as many triggered samples as samples of its own. So whether the clusters lie
    apart, and which one is triggered, is judged in the same way for all methods (`pool.split`).

    It needs only the features, and takes less than a second for each class.

    Args:
        features: features of the class, (n, D) with n > 1.
        clean: not used.
        seed: of the random starts.
        components: number of components that the features are reduced to.

    Returns:
        The position of each sample on the line through the two centres, (n,).
    """
    reduced: Matrix = PCA(min(components, *features.shape), random_state=seed).fit_transform(
        features
    )
    first, second = KMeans(2, n_init=STARTS, random_state=seed).fit(reduced).cluster_centers_
    line = second - first
    scores: Vector = (reduced - (first + second) / 2) @ line / max(np.linalg.norm(line), 1e-12)
    return scores
