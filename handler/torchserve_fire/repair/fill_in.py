"""Filling in places of a map from those around them.

What is filled in is smooth: each place becomes the mean of its four neighbours, as in harmonic
inpainting (Chan and Shen, "Mathematical models for local nontexture inpaintings", 2002).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .tracing import is_traced, surely_none

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
    if is_traced():
        # Where anything is hidden, and how much, is not known.
        return _fill_in(values, hidden, lower, upper)
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


def _region_of(hidden: Tensor, beyond: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """Return the part of each map that what is hidden there is filled in from.

    Args:
        hidden: which values to fill in, (N, C, H, W) bool.
        beyond: how far it is at most from any other place to a seen one.

    Returns:
        Indices of the parts, all of one size, (N, C, h, w); None if they are not small.
    """
    rows, columns = (_Extent.of(hidden.any(axis).any(1)) for axis in (3, 2))
    # So far it is from any hidden place to a seen one, and the windows' halves double.
    margin = 1 << (min(rows.depth, columns.depth) + beyond - 1).bit_length()
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
    means = _means_of_windows(values, hidden, (lower + upper) / 2, hidden)
    filled = torch.where(hidden, means, values)
    if is_traced():
        return _smoothed_everywhere(filled, hidden, lower, upper)
    filled = filled.flatten()
    channels, height, width = values.shape[1:]
    sample, channel, row, column = hidden.nonzero(as_tuple=True)
    plane = (sample * channels + channel) * height

    def beside(down: int, right: int) -> Tensor:
        """Return the indices of what is beside the hidden values; at an edge, of themselves."""
        rows = (row + down).clamp(0, height - 1)
        return (plane + rows) * width + (column + right).clamp(0, width - 1)

    least, most = lower.expand_as(values)[hidden], upper.expand_as(values)[hidden]
    here = beside(0, 0)
    around = torch.stack([beside(-1, 0), beside(0, -1), beside(0, 1), beside(1, 0)])
    for _ in range(ROUNDS):
        filled[here] = filled[around].mean(0).clamp(least, most)
    return filled.view_as(values)


def _smoothed_everywhere(filled: Tensor, hidden: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Return what the rounds of averaging lead to, computed for all places.

    Which of them are hidden, a traced graph does not know.
    """
    channels = filled.shape[1]
    quarter = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]], device=filled.device) / 4
    kernel = quarter.expand(channels, 1, 3, 3).contiguous()
    for _ in range(ROUNDS):
        # At an edge, a place stands in for what would be beside it.
        around = functional.pad(filled, (1, 1, 1, 1), mode="replicate")
        mean = functional.conv2d(around, kernel, groups=channels)
        filled = torch.where(hidden, mean.clamp(lower, upper), filled)
    return filled


def _means_of_windows(
    values: Tensor, hidden: Tensor, otherwise: Tensor, missing: Tensor, window: int = 3
) -> Tensor:
    """Return the mean of the seen values around each place, in the smallest window with any.

    Args:
        values: the maps.
        hidden: which of their values are not seen.
        otherwise: the means so far, and what they are where no window has any.
        missing: where smaller windows had none.
        window: side of the smallest window to try.
    """
    means = otherwise.expand_as(values)
    # The last window reaches from one corner to the other.
    if window >= 4 * max(values.shape[2:]) or surely_none(missing):
        return means
    half = window // 2

    def mean(of: Tensor) -> Tensor:
        # A large window at once would take as many additions for each place as it has places.
        rows = functional.avg_pool2d(of, (window, 1), stride=1, padding=(half, 0))
        return functional.avg_pool2d(rows, (1, window), stride=1, padding=(0, half))

    total, share = mean(values.masked_fill(hidden, 0)), mean((~hidden).to(values.dtype))
    # The least share that is not 0 is one place of the window.
    seen = share > 0.5 / window**2
    means = torch.where(missing & seen, total / share, means)
    missing = missing & ~seen
    region = None if is_traced() else _region_of(missing, half)
    if region is None:
        return _means_of_windows(values, hidden, means, missing, 2 * window - 1)
    means[region] = _means_of_windows(
        values[region], hidden[region], means[region], missing[region], 2 * window - 1
    )
    return means
