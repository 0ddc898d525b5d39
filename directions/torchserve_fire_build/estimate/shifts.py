"""Shifts: estimators of the mean shift that the trigger causes at a layer, to repair along.

Each takes a layer's statistics and returns a tensor that broadcasts to the layer's features. The
plain mean is FIRE (arXiv 2602.10780) as its abstract describes it. Without pairs, a mean difference
of few samples mostly shows what these samples depict, and the fewer samples, the more so. The other
estimators reduce this noise, at the price of bias.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .channels import channel_means, spread_over
from .layer_statistics import LayerStatistics

Estimator = Callable[[LayerStatistics], Tensor]

MIN_OTHERS = 5
"""Clean samples of other classes from which on their mean is known."""


def mean_difference(statistics: LayerStatistics) -> Tensor:
    """Mean of triggered minus clean features, (*S)."""
    return statistics.mean_difference


def channel_mean(statistics: LayerStatistics) -> Tensor:
    """Mean difference of each channel, (C, 1, 1) or (1, D): for triggers without a fixed place."""
    difference = statistics.mean_difference
    return spread_over(channel_means(difference[None])[0], tuple(difference.shape))


def significant_2(statistics: LayerStatistics) -> Tensor:
    """Mean difference where it exceeds 2 standard errors, 0 elsewhere, (*S)."""
    return _significant(statistics, 2.0)


def significant_4(statistics: LayerStatistics) -> Tensor:
    """Mean difference where it exceeds 4 standard errors, 0 elsewhere, (*S)."""
    return _significant(statistics, 4.0)


def shrunken(statistics: LayerStatistics) -> Tensor:
    """Mean difference, each coordinate shrunk by the positive-part James-Stein factor, (*S).

    The factor is max(0, 1 - 1/t^2) for the coordinate's t-statistic.
    """
    difference, t = statistics.mean_difference, _t_statistic(statistics)
    return difference * (1 - 1 / t.square().clamp(min=1e-12)).clamp(min=0)


def from_others(statistics: LayerStatistics) -> Tensor:
    """Mean of triggered minus that of clean features of other classes than the target, (*S).

    Triggered samples are of other classes than the target. Of few classes, the target's own clean
    samples are a large part of all: the difference from these would mostly show how the classes
    differ, and taking it back would lead to the target again. With pairs, or where the target's
    own samples are few, there is nothing to correct, and it is 0.
    """
    others = statistics.clean_others
    paired = bool(statistics.difference.count)
    if paired or not statistics.of_few_classes or others.count < MIN_OTHERS:
        return torch.zeros_like(statistics.clean.mean)
    return statistics.triggered.mean - others.mean


ESTIMATORS: Mapping[str, Estimator] = {
    "mean_difference": mean_difference,
    "channel_mean": channel_mean,
    "significant_2": significant_2,
    "significant_4": significant_4,
    "shrunken": shrunken,
    "from_others": from_others,
}


def _t_statistic(statistics: LayerStatistics) -> Tensor:
    error = statistics.standard_error
    # A coordinate that never varies (a dead unit) has a standard error and a difference of 0.
    return statistics.mean_difference.abs() / error.clamp(min=float(torch.finfo(error.dtype).tiny))


def _significant(statistics: LayerStatistics, threshold: float) -> Tensor:
    return statistics.mean_difference * (_t_statistic(statistics) > threshold)
