"""The local replacement: for triggers that show at some places of a map only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchserve_fire.format.correction_forms import Local

from .channels import channel_means, spread_over
from .layer_statistics import LayerStatistics

RIDGE = 0.05
"""Share of the channels' mean variance that is added to the variance of each channel."""

SURELY = 1.1
"""How far above that edge a variance is that does not come by chance."""


@dataclass(frozen=True)
class PlaceDirection:
    """What the channels of single places are projected on.

    Attributes:
        weight: (C,).
        spread: standard deviation of the clean places' projections, ().
    """

    weight: Tensor
    spread: Tensor


def place_direction(statistics: LayerStatistics) -> PlaceDirection | None:
    """Return Fisher's discriminant between the places of triggered and of clean samples.

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
    ridged = covariance + ridge * torch.eye(len(covariance))
    if statistics.any_length:
        difference = _of_outlying(difference, statistics, ridge)
    weight = torch.linalg.solve(ridged, difference)
    return PlaceDirection(weight, (weight @ covariance @ weight).sqrt())


def token_direction(statistics: LayerStatistics) -> PlaceDirection | None:
    """Return the same of a layer of any length; None of all others."""
    found = place_direction(statistics) if statistics.any_length else None
    return found if found is not None and float(found.spread) > 0 else None


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
    found = place_direction(statistics)
    if found is None:
        return None
    threshold = float(found.weight @ places.mean + deviations * found.spread)
    shape = statistics.shape
    return Local(spread_over(found.weight, shape), 1.0, threshold, spread_over(places.mean, shape))


def _of_outlying(difference: Tensor, statistics: LayerStatistics, ridge: Tensor) -> Tensor:
    """Return the part of a mean difference along which triggered tokens vary more than clean ones.

    Of a text of fifty words, a trigger of one moves the mean by a fiftieth of what that word is
    beside others: what few texts are about moves it as much. But along its own direction the
    word adds to how the tokens vary within a text. A direction counts if that is more, in units of
    how clean tokens vary, than two samples of the same distribution show by chance (the edge of
    the eigenvalues of Wachter, "The limiting empirical measure of multiple discriminant ratios",
    1980).

    Args:
        difference: (C,).
        statistics: of the layer, whose features are of any length.
        ridge: what is added to the variance of each channel, ().

    Returns:
        (C,); `difference` itself if no direction counts.
    """
    size = len(difference)
    counts = [statistics.clean_places.count, statistics.triggered_places.count]
    clean, triggered = (
        places.scatter / places.count - texts.scatter / max(texts.count, 1)
        for places, texts in (
            (statistics.clean_places, statistics.clean_channels),
            (statistics.triggered_places, statistics.triggered_channels),
        )
    )
    # Texts of other lengths weigh more in one than in the other: what is left may be below 0.
    roots, axes = torch.linalg.eigh(clean)
    roots = (roots.clamp(min=0) + ridge).sqrt()
    spread = (axes / roots).T @ (triggered + ridge * torch.eye(size)) @ (axes / roots)
    values, vectors = torch.linalg.eigh(spread)
    of_clean, of_triggered = (min(size / count, 0.5) for count in counts)
    by_chance = (of_clean + of_triggered - of_clean * of_triggered) ** 0.5
    kept = vectors[:, values > SURELY * ((1 + by_chance) / (1 - of_clean)) ** 2]
    if kept.shape[1] == 0:
        return difference
    whitened = (axes / roots).T @ difference
    outlying: Tensor = (axes * roots) @ (kept @ (kept.T @ whitened))
    return outlying
