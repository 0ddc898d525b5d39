"""LEACE (Belrose et al., NeurIPS 2023, arXiv 2306.03819), of whether a sample is triggered."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from ..common.hooks import Edit, record_features
from ..estimate.channels import channel_means
from ..samples.evidence import Evidence
from .feature_edits import defend_at_best_layer
from .layer_means import layers_to_try
from .predicting import predict
from .rival import Defence, Granted, RivalNotApplicable

MOST_COORDINATES = 512
"""Features with more are erased by channel: their covariance is not to be had from few samples."""


def leace(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Erase from every input's features what separates triggered from clean ones linearly.

    The projection is the authors' own, with its defaults, at the one candidate layer that serves
    the calibration samples best. It is anchored at the mean of the clean calibration samples rather
    than of all: any anchor erases as well, and with this one triggered inputs become like clean
    ones, instead of both becoming like something between.

    Features of at most 512 coordinates are erased as they are. Of larger maps and tokens it is the
    channel means that are erased, and all places of a channel are moved by what its mean moves.

    Raises:
        RivalNotApplicable: the authors' package is not installed.
    """
    if find_spec("concept_erasure") is None:
        raise RivalNotApplicable("concept-erasure is not installed: pip install concept-erasure")
    layers = layers_to_try(model, granted.evidence)
    vectors, triggered = _vectors(model, layers, granted.evidence)
    edits = {layer: _erase(vectors[layer], triggered) for layer in layers}
    return defend_at_best_layer(model, granted.labelled, edits)


def _erase(samples: Tensor, triggered: Tensor) -> Edit:
    from concept_erasure import LeaceEraser

    # Single precision is not enough for the inverse of a covariance.
    triggered = triggered.to(samples.device)
    eraser = LeaceEraser.fit(samples.double(), triggered.double())
    eraser = replace(eraser, bias=samples[~triggered].double().mean(0))

    def edit(features: Tensor) -> Tensor:
        vectors = _flatten_or_pool(features)
        change: Tensor = eraser(vectors) - vectors
        if change[0].numel() == features[0].numel():
            return features + change.view_as(features)
        return features + (change[:, :, None, None] if features.dim() == 4 else change[:, None])

    return edit


def _flatten_or_pool(features: Tensor) -> Tensor:
    flat = features.flatten(1)
    return flat if flat.shape[1] <= MOST_COORDINATES else channel_means(features)


def _vectors(
    model: nn.Module, layers: list[str], evidence: Evidence
) -> tuple[dict[str, Tensor], Tensor]:
    """Return each layer's vectors, (N, D), and which of the samples are triggered, (N,) bool."""
    parts: dict[str, list[Tensor]] = {layer: [] for layer in layers}

    def take(layer: str, features: Tensor) -> None:
        parts[layer].append(_flatten_or_pool(features))

    with record_features(model, layers, take):
        for samples in evidence.both:
            predict(model, samples)
    triggered = torch.arange(sum(map(len, evidence.both))) >= len(evidence.clean)
    return {layer: torch.cat(found) for layer, found in parts.items()}, triggered
