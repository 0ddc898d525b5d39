"""Estimators of the direction to tell triggered samples by: what to project a layer's features on.

Each gives a weight w and the center from which it is read, scaled so that the projection of
(h - center) is 0 for the mean clean sample and 1 for the mean triggered one; so scores of several
folds can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .statistics import LayerStatistics

MIN_TARGET_SAMPLES = 5
RIDGE = 0.1
"""Share of the mean variance that is added to each coordinate's before dividing by it."""


@dataclass(frozen=True)
class Teller:
    """A direction to project on.

    Attributes:
        weight: (*S) float32, with <weight, triggered mean - clean mean> = 1.
        offset: <weight, clean mean>.
    """

    weight: Tensor
    offset: float


Estimator = Callable[[LayerStatistics], Teller | None]


def mean_projection(statistics: LayerStatistics) -> Teller | None:
    """Project on the mean difference itself."""
    difference = statistics.triggered.mean - statistics.clean.mean
    return _teller(difference, difference, statistics.clean.mean)


def whitened(statistics: LayerStatistics) -> Teller | None:
    """Project on the mean difference over the variance.

    This is Fisher's discriminant with a diagonal covariance, ridged.
    """
    difference = statistics.triggered.mean - statistics.clean.mean
    return _teller(_whiten(difference, statistics), difference, statistics.clean.mean)


def whitened_from_target(statistics: LayerStatistics) -> Teller | None:
    """As `whitened`, but against the clean samples that are predicted as the target.

    Where only samples predicted as the target are judged, these are the ones to tell apart.
    """
    if statistics.clean_target.count < MIN_TARGET_SAMPLES:
        return None
    difference = statistics.triggered.mean - statistics.clean_target.mean
    return _teller(_whiten(difference, statistics), difference, statistics.clean_target.mean)


TELLERS: Mapping[str, Estimator] = {
    "mean_projection": mean_projection,
    "whitened": whitened,
    "whitened_from_target": whitened_from_target,
}


def _whiten(difference: Tensor, statistics: LayerStatistics) -> Tensor:
    variance = statistics.pooled_variance
    return difference / (variance + RIDGE * variance.mean())


def _teller(weight: Tensor, difference: Tensor, center: Tensor) -> Teller | None:
    reach = float((weight.double() * difference.double()).sum())
    if not 1e-12 < reach < 1e12:
        return None
    weight = weight / reach
    return Teller(weight, float((weight.double() * center.double()).sum()))
