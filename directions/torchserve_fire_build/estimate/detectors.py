"""Estimators of the direction to tell triggered samples by: what to project a layer's features on.

Each gives a weight w and the center from which it is read, scaled so that the projection of
(h - center) is 0 for the mean clean sample and 1 for the mean triggered one; so scores of several
folds can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torchserve_fire.format.bundle import Detection
from torchserve_fire.format.clean_scores import CleanScores

from ..common.registry import Registry
from .channels import channel_means, spread_over
from .layer_statistics import LayerStatistics

MIN_TARGET_SAMPLES = 5
RIDGE = 0.1
"""Share of the mean variance that is added to each coordinate's before dividing by it."""

CHANNEL_RIDGE = 0.3
"""The same for the covariance of channel means, which is known less well."""


@dataclass(frozen=True)
class Detector:
    """A direction to project on.

    Attributes:
        weight: (*S) or broadcastable to it, float32 of values that half precision holds once they
            are multiplied by a power of 2; <weight, triggered - clean mean> is 1, but for that
            rounding.
        offset: <weight, clean mean>.
    """

    weight: Tensor
    offset: float

    def detection(self, threshold: float, clean: Tensor, *, only_target: bool) -> Detection:
        """Return what a bundle stores.

        Args:
            threshold: of the score less its offset.
            clean: such scores of held-out clean samples that are not flagged, (N,).
            only_target: whether a sample must also be predicted as the target to be flagged.
        """
        scale = _scale(self.weight)
        return Detection(
            (self.weight * scale).half(),
            (threshold + self.offset) * scale,
            only_target=only_target,
            clean_scores=CleanScores.of((clean + self.offset) * scale) if len(clean) else None,
        )


Estimator = Callable[[LayerStatistics], Detector | None]


def mean_projection(statistics: LayerStatistics) -> Detector | None:
    """Project on the mean difference itself."""
    difference = statistics.triggered.mean - statistics.clean.mean
    return _detector(difference, difference, statistics.clean.mean)


def whitened(statistics: LayerStatistics) -> Detector | None:
    """Project on the mean difference over the variance.

    This is Fisher's discriminant with a diagonal covariance, ridged.
    """
    difference = statistics.triggered.mean - statistics.clean.mean
    return _detector(_whiten(difference, statistics), difference, statistics.clean.mean)


def whitened_from_target(statistics: LayerStatistics) -> Detector | None:
    """As `whitened`, but against the clean samples that are predicted as the target.

    Where only samples predicted as the target are judged, these are the ones to tell apart.
    """
    if statistics.clean_target.count < MIN_TARGET_SAMPLES:
        return None
    difference = statistics.triggered.mean - statistics.clean_target.mean
    return _detector(_whiten(difference, statistics), difference, statistics.clean_target.mean)


def channel_discriminant(statistics: LayerStatistics) -> Detector | None:
    """Fisher's discriminant on the channel means, with their full covariance, ridged.

    It is taken against the clean samples that are predicted as the target, where there are enough
    of them to know their mean.
    """
    clean, triggered = statistics.clean_channels, statistics.triggered_channels
    if clean.count == 0 or triggered.count == 0:
        return None
    covariance = (clean.scatter + triggered.scatter) / (clean.count + triggered.count)
    ridge = CHANNEL_RIDGE * covariance.diagonal().mean()
    center = statistics.clean.mean
    if statistics.clean_target.count >= MIN_TARGET_SAMPLES:
        center = statistics.clean_target.mean
    difference = channel_means((statistics.triggered.mean - center)[None])[0]
    if not float(ridge) > 0:
        return None
    ridged = covariance + ridge * torch.eye(len(covariance))
    shape = tuple(center.shape)
    weight = spread_over(torch.linalg.solve(ridged, difference), shape)
    return _detector(weight, statistics.triggered.mean - center, center)


DETECTORS: Registry[Estimator] = Registry(
    "torchserve_fire.detectors",
    {
        "mean_projection": mean_projection,
        "whitened": whitened,
        "whitened_from_target": whitened_from_target,
        "channel_discriminant": channel_discriminant,
    },
)


def _whiten(difference: Tensor, statistics: LayerStatistics) -> Tensor:
    variance = statistics.pooled_variance
    return difference / (variance + RIDGE * variance.mean())


def _scale(weight: Tensor) -> float:
    """Return the power of 2 that brings the largest absolute weight to between 1/2 and 1."""
    return 2.0 ** -int(torch.frexp(weight.abs().max()).exponent)


def _detector(weight: Tensor, difference: Tensor, center: Tensor) -> Detector | None:
    reach = float((weight.double() * difference.double()).sum())
    if not 1e-12 < reach < 1e12:
        return None
    weight = weight / reach
    scale = _scale(weight)
    # Tellers are compared as they are stored.
    weight = (weight * scale).half().float() / scale
    return Detector(weight, float((weight.double() * center.double()).sum()))
