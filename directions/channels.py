"""Channels of a layer's features, whatever their shape.

Convolutional maps (C, H, W) have their channels first, tokens (T, D) last; a vector (D,) is its own
channels.
"""

from __future__ import annotations

from torch import Tensor


def channel_means(features: Tensor) -> Tensor:
    """Return the mean of each channel, (N, C), of features (N, *S)."""
    if features.dim() == 4:
        return features.mean((2, 3))
    return features.mean(1) if features.dim() == 3 else features.flatten(1)


def spread_over(channels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return one value per channel, (C,), so that it broadcasts to features of shape (*S)."""
    if len(shape) == 3:
        return channels.view(-1, 1, 1)
    return channels.view(1, -1) if len(shape) == 2 else channels.view(shape)
