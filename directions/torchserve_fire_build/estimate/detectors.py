"""Detectors: estimators of the direction that separates triggered samples from clean ones.

Each returns a weight w to project a layer's features h on, and the center that is subtracted from
them. They are scaled so that the projection of (h - center) is 0 for the mean clean sample and 1
for the mean triggered sample. So the scores of several folds can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torchserve_fire.format.bundle import Detection
from torchserve_fire.format.clean_scores import CleanScores
from torchserve_fire.repair.corrections import largest_projection, project

from ..common.registry import Registry
from .channels import channel_means, spread_over
from .layer_statistics import LayerStatistics
from .local import token_direction

MIN_TARGET_SAMPLES = 5
RIDGE = 0.1
"""Share of the mean variance that is added to each coordinate's variance before dividing by it."""

CHANNEL_RIDGE = 0.3
"""The same for the covariance of channel means, which is known less precisely."""


@dataclass(frozen=True)
class Detector:
    """A direction to project on.

    Attributes:
        weight: (*S) or broadcastable to it, float32; times a power of 2, its values fit into half
            precision. But for that rounding, <weight, triggered mean - clean mean> is 1.
        offset: <weight, clean mean>.
    """

    weight: Tensor
    offset: float

    def detection(
        self,
        threshold: float,
        clean: Tensor,
        *,
        only_target: bool,
        padding: tuple[int, ...] = (),
    ) -> Detection:
        """Return the detector as a bundle stores it.

        Args:
            threshold: threshold of the scores, which are projections minus the offset.
            clean: scores of the held-out clean samples that are not flagged, (N,).
            only_target: whether only samples that are predicted as the target are flagged.
            padding: of a layer of any length, as of `Detection`.
        """
        scale = _scale(self.weight)
        return Detection(
            (self.weight * scale).half(),
            (threshold + self.offset) * scale,
            only_target=only_target,
            clean_scores=CleanScores.of((clean + self.offset) * scale) if len(clean) else None,
            padding=padding,
        )


Estimator = Callable[[LayerStatistics], Detector | None]


def mean_projection(statistics: LayerStatistics) -> Detector | None:
    """Project on the mean difference itself."""
    difference = statistics.triggered.mean - statistics.clean.mean
    return _detector(difference, difference, statistics.clean.mean)


def whitened(statistics: LayerStatistics) -> Detector | None:
    """Project on the mean difference divided by the variance.

    This is Fisher's discriminant with a diagonal covariance, plus a ridge.
    """
    difference = statistics.triggered.mean - statistics.clean.mean
    return _detector(_whiten(difference, statistics), difference, statistics.clean.mean)


def whitened_from_target(statistics: LayerStatistics) -> Detector | None:
    """Do as `whitened`, but only with the clean samples that are predicted as the target.

    If only samples predicted as the target are scored, these are the samples to separate.
    """
    if statistics.clean_target.count < MIN_TARGET_SAMPLES:
        return None
    difference = statistics.triggered.mean - statistics.clean_target.mean
    return _detector(_whiten(difference, statistics), difference, statistics.clean_target.mean)


def channel_discriminant(statistics: LayerStatistics) -> Detector | None:
    """Project on Fisher's discriminant of the channel means: full covariance, plus a ridge.

    The clean mean is that of the clean samples predicted as the target, if there are enough of them
    to know it. So is the clean covariance where these are a large share of all, as of few classes:
    that of all would mostly show how the classes differ.
    """
    clean, triggered = statistics.clean_channels, statistics.triggered_channels
    if statistics.target_channels.count >= MIN_TARGET_SAMPLES:
        clean = statistics.target_channels
    if clean.count == 0 or triggered.count == 0:
        return None
    center = statistics.clean.mean
    if statistics.clean_target.count >= MIN_TARGET_SAMPLES:
        center = statistics.clean_target.mean
    covariance = (clean.scatter + triggered.scatter) / (clean.count + triggered.count)
    ridge = CHANNEL_RIDGE * covariance.diagonal().mean()
    difference = channel_means((statistics.triggered.mean - center)[None])[0]
    if not float(ridge) > 0:
        return None
    ridged = covariance + ridge * torch.eye(len(covariance))
    shape = tuple(center.shape)
    weight = spread_over(torch.linalg.solve(ridged, difference), shape)
    return _detector(weight, statistics.triggered.mean - center, center)


def token_outliers(statistics: LayerStatistics) -> Detector | None:
    """Project single tokens on what triggered texts have in some: the score is the largest.

    It is in standard deviations of the clean tokens' projections, from their mean.
    """
    found = token_direction(statistics)
    if found is None:
        return None
    weight = (found.weight / found.spread)[None]
    scale = _scale(weight)
    weight = (weight * scale).half().float() / scale
    return Detector(weight, float(weight[0] @ statistics.clean_places.mean))


DETECTORS: Registry[Estimator] = Registry(
    "torchserve_fire.detectors",
    {
        "mean_projection": mean_projection,
        "whitened": whitened,
        "whitened_from_target": whitened_from_target,
        "channel_discriminant": channel_discriminant,
        "token_outliers": token_outliers,
    },
    returns=Detector | None,
)

BY_TOKEN = ("token_outliers",)
"""Those that score single tokens, at layers of any length; there they alone are."""


def estimate_detector(name: str, statistics: LayerStatistics) -> Detector | None:
    """Return a detector by its name; None if it cannot be estimated, or is for other layers."""
    if (name in BY_TOKEN) != statistics.any_length:
        return None
    return DETECTORS[name](statistics)


def detector_scores(features: Tensor, detector: Detector, own: Tensor | None) -> Tensor:
    """Return the projections of features, (N,) float32, without the offset subtracted.

    Args:
        features: (N, *S).
        detector: its weight is on the features' device.
        own: of layers of any length, which tokens are no padding, (N, T) bool; else None.
    """
    if own is None:
        return project(features, detector.weight)
    return largest_projection(features, detector.weight, own)


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
    # Detectors are compared in the precision in which they are stored.
    weight = (weight * scale).half().float() / scale
    return Detector(weight, float((weight.double() * center.double()).sum()))
