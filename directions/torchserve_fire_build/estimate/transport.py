"""The affine transport: it predicts how a place's channels were shifted from these channels.

A mean shift subtracts the same from every sample, but what a trigger does depends on the sample.
With pairs, ridge regression predicts the shift of a place from its triggered channels. Without
pairs, triggered channels are mapped to clean ones by the Monge map: of the maps between two normal
distributions, the one that moves least (Peyre and Cuturi, "Computational Optimal Transport",
remark 2.31).
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchserve_fire.format.correction_forms import Affine
from torchserve_fire.repair.corrections import mix_channels

from .channels import channel_means, channels_of_places, halved, spread_over
from .layer_statistics import MAX_PLACES, LayerStatistics


def affine_transport(statistics: LayerStatistics, *, ridge: float, by_place: bool) -> Affine | None:
    """Return the repair that subtracts the expected shift of each place's channels.

    Args:
        statistics: of the layer.
        ridge: share of the channels' mean variance that is added to the variance of each channel.
        by_place: whether each place has a mean shift of its own, for triggers at a fixed place. The
            slope is then estimated from the deviations from the places' means.

    Returns:
        None if the layer has no places (vectors), nothing varies or nothing differs.
    """
    fit = _regression if statistics.pair_places.count else _monge_map
    slope = fit(statistics, ridge, by_place)
    if slope is None or not bool(statistics.mean_difference.any()):
        return None
    difference, mean = statistics.mean_difference[None], statistics.triggered.mean[None]
    if not by_place:
        shape = statistics.shape
        difference, mean = (
            spread_over(channel_means(part)[0], shape)[None] for part in (difference, mean)
        )
    direction = difference[0] - mix_channels(mean, slope)[0]
    return Affine(halved(direction), 1.0, halved(slope))


def _regression(statistics: LayerStatistics, ridge: float, by_place: bool) -> Tensor | None:
    """Return the slope, (C, C), of (triggered - clean) channels over triggered channels."""
    count = statistics.pair_places.count
    triggered = statistics.triggered_places.scatter / count
    shared = statistics.pair_places.scatter / count
    if by_place:
        places = _places(statistics.triggered.mean)
        partners = _places(statistics.triggered.mean - statistics.difference.mean)
        triggered = triggered - _between(places, places)
        shared = shared - _between(places, partners)
    penalty = ridge * triggered.diagonal().mean()
    if not float(penalty) > 0:
        return None
    ridged = triggered + penalty * torch.eye(len(triggered))
    slope: Tensor = torch.linalg.solve(ridged, triggered - shared).T
    return slope.contiguous()


def _monge_map(statistics: LayerStatistics, ridge: float, by_place: bool) -> Tensor | None:
    """Return 1 - A, (C, C), where A is the slope of the map from triggered to clean channels."""
    covariances = []
    for places, moments in (
        (statistics.triggered_places, statistics.triggered),
        (statistics.clean_places, statistics.clean),
    ):
        if places.count == 0:
            return None
        covariance = places.scatter / places.count
        if by_place:
            means = _places(moments.mean)
            covariance = covariance - _between(means, means)
        covariances.append(covariance)
    triggered, clean = covariances
    penalty = ridge * triggered.diagonal().mean()
    if not float(penalty) > 0:
        return None
    one = torch.eye(len(triggered))
    root, inverse = _root_and_inverse(triggered + penalty * one)
    middle, _ = _root_and_inverse(root @ (clean + penalty * one) @ root)
    return one - inverse @ middle @ inverse


def _places(mean: Tensor) -> Tensor:
    """Return the channels at those places that the covariances use, (P, C)."""
    return channels_of_places(mean[None], MAX_PLACES)


def _between(means: Tensor, partners: Tensor) -> Tensor:
    """Return the covariance between places, (C, C), from the places' means, both (P, C)."""
    return (means - means.mean(0)).T @ (partners - partners.mean(0)) / len(means)


def _root_and_inverse(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the square root of a positive definite matrix, and that root's inverse."""
    values, vectors = torch.linalg.eigh(matrix.double())
    # Through rounding, the smallest eigenvalues may be zero or less.
    values = values.clamp(min=float(values.max()) * 1e-9).sqrt()
    root, inverse = ((vectors * part) @ vectors.T for part in (values, 1 / values))
    return root.float(), inverse.float()
