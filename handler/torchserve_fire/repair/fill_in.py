"""Filling in places of a map from those around them.

What is filled in is smooth: each place becomes the mean of its four neighbours, as in harmonic
inpainting (Chan and Shen, "Mathematical models for local nontexture inpaintings", 2002).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LARGE = 96 * 96
"""Places of a map that takes long enough to be filled in by itself."""

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
    lower, upper = lower.expand_as(values), upper.expand_as(values)
    region = _region_of(hidden) if len(hidden) else None
    if region is not None:
        filled = values.clone()
        filled[region] = _fill_in(values[region], hidden[region], lower[region], upper[region])
        return filled
    if len(values) > 1 and values[0, 0].numel() >= LARGE:
        # In one of them it may be small.
        parts = (torch.split(tensor, 1) for tensor in (values, hidden, lower, upper))
        return torch.cat([fill_in(*one) for one in zip(*parts, strict=True)])
    return _fill_in(values, hidden, lower, upper)


def _region_of(hidden: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """Return the part of each map that what is hidden there is filled in from.

    Args:
        hidden: which values to fill in, (N, C, H, W) bool.

    Returns:
        Indices of the parts, all of one size, (N, C, h, w); None if they are not small.
    """
    rows, columns = (_Extent.of(hidden.any(axis).any(1)) for axis in (3, 2))
    # So far it is from any hidden place to a seen one, and the windows' halves double.
    margin = 1 << (min(rows.depth, columns.depth) - 1).bit_length()
    if any(2 * (extent.longest + 2 * margin) > extent.side for extent in (rows, columns)):
        return None
    samples, channels = (torch.arange(n, device=hidden.device) for n in hidden.shape[:2])
    return (
        samples[:, None, None, None],
        channels[None, :, None, None],
        rows.around(margin)[:, None, :, None],
        columns.around(margin)[:, None, None, :],
    )


@dataclass(frozen=True)
class _Extent:
    """Where hidden values lie along one side of maps.

    Attributes:
        side: its length.
        first: of each map, the first line with hidden values, (N,) int64.
        longest: the most lines from there to the last such line.
        depth: the most lines from a hidden one to one with none.
    """

    side: int
    first: Tensor
    longest: int
    depth: int

    @classmethod
    def of(cls, lines: Tensor) -> _Extent:
        """Return the extent of the lines with hidden values, (N, side) bool."""
        side = lines.shape[1]
        first = lines.int().argmax(1)
        end = side - lines.flip(1).int().argmax(1)
        end = torch.where(lines.any(1), end, first + 1)
        longest = int((end - first).max())
        at_edge = bool(((first == 0) | (end == side)).any())
        return cls(side, first, longest, longest if at_edge else -(-longest // 2))

    def around(self, margin: int) -> Tensor:
        """Return the lines of each map to fill in from, (N, longest + 2 * margin) int64."""
        length = self.longest + 2 * margin
        start = (self.first - margin).clamp(0, self.side - length)
        return start[:, None] + torch.arange(length, device=start.device)


def _fill_in(values: Tensor, hidden: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Return the same, computed for the whole maps."""
    filled = torch.where(hidden, _means_of_windows(values, hidden, (lower + upper) / 2), values)
    channels = values.shape[1]
    cross = values.new_tensor([[0.0, 0.25, 0.0], [0.25, 0.0, 0.25], [0.0, 0.25, 0.0]])
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
