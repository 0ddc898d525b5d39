"""Groups of samples that look alike to a model, or to the eye."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .small_picture import small_picture

COMPONENTS = 10
"""Dimensions that features are reduced to."""

MOST_GROUPS = 12
"""So that a person can go through them one by one."""

LEAST_SAMPLES = 8
"""Of fewer, all are one group."""

TRIED_ON = 1000
"""Samples on which numbers of groups are compared."""

LEAST_SILHOUETTE = 0.15
"""Mean silhouette below which groups are hardly apart, so that all samples are one."""

SIDE = 16
"""Of the pictures that are compared by the eye, in pixels."""

Matrix = npt.NDArray[np.float64]


def group_alike(features: npt.NDArray[Any], seed: int) -> list[int]:
    """Group samples by k-means; how many groups there are, the mean silhouette says.

    Source: P. Rousseeuw, Silhouettes, J. Comput. Appl. Math. 1987.

    Args:
        features: of the samples, (N, D).
        seed: of the random numbers.

    Returns:
        The number of each sample's group, (N,); the largest group is number 0.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.metrics import silhouette_score

    rows: Matrix = np.asarray(features, dtype=np.float64)
    count = len(np.unique(rows, axis=0)) if len(rows) else 0
    if count < LEAST_SAMPLES:
        return [0] * len(rows)
    components = min(COMPONENTS, *rows.shape)
    reduced: Matrix = PCA(components, random_state=seed).fit_transform(rows)
    generator = np.random.default_rng(seed)
    tried = reduced[generator.permutation(len(reduced))[:TRIED_ON]]
    best, groups = LEAST_SILHOUETTE, 1
    for number in range(2, min(MOST_GROUPS, len(np.unique(tried, axis=0)) - 1) + 1):
        found = KMeans(number, n_init=3, random_state=seed).fit_predict(tried)
        score = float(silhouette_score(tried, found))
        if score > best:
            best, groups = score, number
    labels = KMeans(groups, n_init=3, random_state=seed).fit_predict(reduced)
    sizes = np.bincount(labels, minlength=groups)
    rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    return [int(rank[label]) for label in labels]


def picture_features(pictures: Sequence[bytes]) -> Matrix:
    """Return the grey shades of small versions of image files, (N, SIDE * SIDE).

    Raises:
        SamplesError: one is no image.
    """
    rows = []
    for data in pictures:
        with Image.open(io.BytesIO(small_picture(data))) as image:
            rows.append(np.asarray(image.convert("L").resize((SIDE, SIDE)), dtype=np.float64))
    return np.stack(rows).reshape(len(rows), -1) if rows else np.zeros((0, SIDE * SIDE))
