"""Filling in places of a map from those around them.

What is filled in is smooth: each place becomes the mean of its four neighbours, as in harmonic
inpainting (Chan and Shen, "Mathematical models for local nontexture inpaintings", 2002).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ROUNDS = 10
"""Rounds of averaging. They start from means of windows, so that few are enough."""


def fill_in(values: Tensor, hidden: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Return maps with their hidden values filled in from the values around them.

    Args:
        values: (N, C, H, W) float32; what they are where they are hidden does not matter.
        hidden: which values to fill in, (N, C, H, W) bool.
        lower: what each filled in value is at least, broadcastable to `values`.
        upper: what each filled in value is at most, broadcastable to `values`.
    """
    filled = torch.where(hidden, _means_of_windows(values, hidden, (lower + upper) / 2), values)
    channels = values.shape[1]
    cross = torch.tensor([[0.0, 0.25, 0.0], [0.25, 0.0, 0.25], [0.0, 0.25, 0.0]]).to(values)
    kernel = cross.expand(channels, 1, 3, 3)
    for _ in range(ROUNDS):
        padded = functional.pad(filled, (1, 1, 1, 1), mode="replicate")
        mean = functional.conv2d(padded, kernel, groups=channels)
        filled = torch.where(hidden, mean.clamp(lower, upper), filled)
    return filled


def _means_of_windows(values: Tensor, hidden: Tensor, otherwise: Tensor) -> Tensor:
    """Return the mean of the seen values around each place, in the smallest window with any."""
    means = otherwise.expand_as(values)
    missing = hidden
    # The last window reaches from one corner to the other.
    window, too_large = 3, 4 * max(values.shape[2:])
    while bool(missing.any()) and window < too_large:

        def mean(of: Tensor, window: int = window) -> Tensor:
            # A large window at once would take as many additions for each place as it has places.
            half = window // 2
            rows = functional.avg_pool2d(of, (window, 1), stride=1, padding=(half, 0))
            return functional.avg_pool2d(rows, (1, window), stride=1, padding=(0, half))

        total, share = mean(values.masked_fill(hidden, 0)), mean((~hidden).to(values.dtype))
        # The least share that is not 0 is one place of the window.
        seen = share > 0.5 / window**2
        means = torch.where(missing & seen, total / share, means)
        missing = missing & ~seen
        window = 2 * window - 1
    return means
