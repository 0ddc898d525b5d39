"""Drawings and digits: images that a scan was not measured on.

Where most of an image is of one value, a small patch or a turn makes another class of it in a
benign model, too. The verdict was fitted on models of photographs.
"""

from __future__ import annotations

import torch
from torch import Tensor

VALUES = 64
"""Values that are told apart, between the least and the largest of all images."""

FLAT = 0.25
"""Images are drawings from this share on: half of ten classes' small photographs have .07 or less,
of traffic signs .14, of handwritten digits .36."""


def are_drawings(inputs: Tensor) -> bool:
    """Return whether at least half of the images (N, C, H, W) are mostly of one value."""
    return flat_share(inputs) >= FLAT


def flat_share(inputs: Tensor) -> float:
    """Return the share of an image that has its most frequent value, the median of all images.

    Args:
        inputs: (N, C, H, W); of several channels, the mean share counts.
    """
    least, most = inputs.amin((0, 2, 3), keepdim=True), inputs.amax((0, 2, 3), keepdim=True)
    values = ((inputs - least) / (most - least).clamp(min=1e-9) * (VALUES - 1)).round().long()
    counts = torch.zeros(*inputs.shape[:2], VALUES, dtype=torch.long, device=inputs.device)
    values = values.flatten(2)
    counts.scatter_add_(2, values, torch.ones_like(values))
    shares = counts.amax(2).double() / values.shape[2]
    return float(shares.mean(1).median())
