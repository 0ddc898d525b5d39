"""Estimating a local replacement: for triggers that show at some places of a map, not at all."""

from __future__ import annotations

import torch

from torchserve_fire.format.correction_forms import Local

from .channels import channel_means, spread_over
from .layer_statistics import LayerStatistics

RIDGE = 0.05
"""Share of the mean variance of a channel that is added to each one's."""


def local_replacement(statistics: LayerStatistics, *, deviations: float) -> Local | None:
    """Return the repair that replaces outlying places by what is around them.

    Places are found by Fisher's discriminant between the channels at all places of triggered and of
    clean samples. A trigger that covers few places shifts their mean little, but in its direction,
    and the covariance is known from all places of all samples, so that few samples are enough.

    Args:
        statistics: of the layer.
        deviations: how many standard deviations of the clean places' projection lie below the
            threshold.

    Returns:
        None where the layer has no places (vectors) or nothing varies.
    """
    places = statistics.clean_places
    if places.count == 0:
        return None
    covariance = places.scatter / places.count
    ridge = RIDGE * covariance.diagonal().mean()
    difference = channel_means(statistics.mean_difference[None])[0]
    if not float(ridge) > 0 or not bool(difference.any()):
        return None
    weight = torch.linalg.solve(covariance + ridge * torch.eye(len(covariance)), difference)
    spread = (weight @ covariance @ weight).sqrt()
    threshold = float(weight @ places.mean + deviations * spread)
    shape = statistics.shape
    return Local(spread_over(weight, shape), 1.0, threshold, spread_over(places.mean, shape))
