"""Removal of the trigger's direction from every input's features.

h' = h - <h - m, u> u with u = d / |d|, d the mean of triggered minus clean features and m the mean
of clean ones: directional ablation (Arditi et al., NeurIPS 2024), anchored at the clean
mean, at the one layer that serves the calibration samples best.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..common.hooks import Edit
from .feature_edits import defend_at_best_layer
from .layer_means import LayerMeans, layer_means
from .rival import Defence, Granted


def projection_removal(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Give every input the mean clean projection on the trigger's direction."""
    means = layer_means(model, granted.evidence)
    edits = {layer: _remove(mean) for layer, mean in means.items()}
    return defend_at_best_layer(model, granted.labelled, edits)


def _remove(mean: LayerMeans) -> Edit:
    # A layer that the trigger does not reach has no direction, and nothing is removed.
    unit = mean.difference / torch.linalg.vector_norm(mean.difference).clamp(min=1e-12)

    def edit(features: Tensor) -> Tensor:
        scores = (features - mean.clean).flatten(1) @ unit.flatten()
        removed: Tensor = scores.view(-1, *(1 for _ in unit.shape)) * unit
        return features - removed

    return edit
