"""The local replacement: for triggers that show at some places of a map only."""

from __future__ import annotations

import torch

from torchserve_fire.format.correction_forms import Local

from .channels import channel_means, spread_over
from .layer_statistics import LayerStatistics

RIDGE = 0.05
"""Share of the channels' mean variance that is added to the variance of each channel."""


def local_replacement(statistics: LayerStatistics, *, deviations: float) -> Local | None:
    """Return the repair that replaces outlying places by their surroundings.

    Fisher's discriminant, between the channels at all places of triggered and of clean samples,
    finds the places. A trigger that covers few places shifts the mean of all places only a little,
    but in the right direction. The covariance is known from all places of all samples, so few
    samples are enough.

    Args:
        statistics: of the layer.
        deviations: how far the threshold lies above the clean places' mean projection, in standard
            deviations of that projection.

    Returns:
        None if the layer has no places (vectors), nothing varies or nothing differs.
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
