"""The mean shift of each channel: FIRE's plain form for triggers that move about."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..estimate.channels import channel_means, spread_over
from .feature_edits import defend_at_best_layer
from .fire_mean_shift import shift_by
from .layer_means import layer_means
from .rival import Defence, Granted


def channel_mean_shift(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Move every input's features back, the same for all places of a channel, at the best layer."""
    means = layer_means(model, granted.evidence)
    edits = {layer: shift_by(_per_channel(mean.difference)) for layer, mean in means.items()}
    return defend_at_best_layer(model, granted.labelled, edits)


def _per_channel(difference: Tensor) -> Tensor:
    return spread_over(channel_means(difference[None])[0], tuple(difference.shape))
