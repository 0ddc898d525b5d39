"""Mahalanobis distance with a shrunk covariance: how far a sample lies from its class.

The covariance is that of Ledoit and Wolf, "A Well-Conditioned Estimator for Large-Dimensional
Covariance Matrices" (2004). Without clean samples, location and covariance are those of one half of
the class: the half that lies closest together. It is found by the concentration steps of Rousseeuw
and Van Driessen, "A Fast Algorithm for the Minimum Covariance Determinant Estimator" (1999).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from .arrays import Matrix, Vector

COMPONENTS = 10
"""Number of components if the class is compared with its own half. In as many dimensions as there
are samples, any half would seem to lie apart from the other half."""

MIN_CLEAN = 10
"""The fewest clean samples of a class that show how far its features spread."""

STEPS = 30
"""Far more steps than concentration needs to settle."""


def mahalanobis(features: Matrix, clean: Matrix | None, seed: int) -> Vector:
    """Score the samples of one predicted class by their distance from its clean samples.

    It needs clean samples of the class. Without them, one of the two groups, the triggered samples
    or the class's own, must lie closer together than the other. It takes less than a second for
    each class.

    Args:
        features: features of the class, (n, D) with n > 1.
        clean: features of clean samples that are predicted as the class, (m, D). If None, or fewer
            than `MIN_CLEAN`, the class is compared with its own closest half.
        seed: of the randomised decomposition that scikit-learn uses for large matrices.

    Returns:
        The logarithms of the distances, (n,). Within one group, these are nearly normal.
    """
    if clean is not None and len(clean) >= MIN_CLEAN:
        return _log_distances(LedoitWolf().fit(clean), features)
    reduced = PCA(min(COMPONENTS, *features.shape), random_state=seed).fit_transform(features)
    halves = [_concentrate(reduced, start) for start in _starts(reduced)]
    return _log_distances(min(halves, key=_log_determinant), reduced)


def _starts(features: Matrix) -> list[Vector]:
    """Return distances to start from: from both ends of the first axis, and from its middle."""
    first = features[:, 0]
    return [first, -first, np.abs(first - np.median(first))]


def _concentrate(features: Matrix, distances: Vector) -> LedoitWolf:
    """Fit the nearest half, and repeat until the nearest half no longer changes."""
    nearest = _nearest_half(distances)
    for _ in range(STEPS):
        fitted = LedoitWolf().fit(features[nearest])
        following = _nearest_half(fitted.mahalanobis(features))
        if np.array_equal(following, nearest):
            break
        nearest = following
    return fitted


def _nearest_half(distances: Vector) -> npt.NDArray[np.int64]:
    return np.sort(np.argsort(distances, kind="stable")[: (len(distances) + 1) // 2])


def _log_determinant(fitted: LedoitWolf) -> float:
    return float(np.linalg.slogdet(fitted.covariance_)[1])


def _log_distances(fitted: LedoitWolf, features: Matrix) -> Vector:
    scores: Vector = np.log(np.maximum(fitted.mahalanobis(features), 1e-12)) / 2
    return scores
