"""Channels of a layer's features, whatever their shape, and the precision they are stored in.

Convolutional maps (C, H, W) have their channels first, tokens (T, D) have them last; each value of
a vector (D,) is a channel.
"""

from __future__ import annotations

import torch
from torch import Tensor


def channel_means(features: Tensor) -> Tensor:
    """Return the mean of each channel, (N, C), of features (N, *S)."""
    if features.dim() == 4:
        return features.mean((2, 3))
    return features.mean(1) if features.dim() == 3 else features.flatten(1)


def token_means(features: Tensor, own: Tensor) -> Tensor:
    """Return the mean over each sample's own tokens, (N, 1, C).

    Args:
        features: tokens (N, T, C).
        own: which of them are no padding, (N, T) bool.
    """
    weight = own[:, :, None].to(features.dtype)
    # What padding holds may be anything, NaN too.
    kept = features.masked_fill(~own[:, :, None], 0)
    return kept.sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)


def channels_of_places(features: Tensor, most: int) -> Tensor:
    """Return the channels at each place of maps or tokens (N, *S), as (N * places, C).

    Args:
        features: of maps (N, C, H, W) or tokens (N, T, D).
        most: the most places to take of each sample; they are spread evenly.
    """
    places = features.flatten(2).transpose(1, 2) if features.dim() == 4 else features
    # An odd step does not always meet the same columns of a map.
    step = 1 if places.shape[1] <= most else places.shape[1] // most | 1
    return places[:, ::step].flatten(0, 1)


def spread_over(channels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return one value per channel, (C,), reshaped so that it broadcasts to features (*S)."""
    if len(shape) == 3:
        return channels.view(-1, 1, 1)
    return channels.view(1, -1) if len(shape) == 2 else channels.view(shape)


def halved(tensor: Tensor) -> Tensor:
    """Return a tensor in half precision, as bundles store it, if its values fit."""
    return tensor.half() if float(tensor.abs().max()) < torch.finfo(torch.float16).max else tensor
