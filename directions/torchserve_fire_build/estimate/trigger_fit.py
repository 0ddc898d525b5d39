"""What a trigger does to the model's input, fitted to pairs: so that it can be put in elsewhere.

What a trigger adds (triggered minus clean) depends on what was there: a patch covers it, a blend
mixes it in. Moved as it is, the difference would bring the content beneath it along. So it is
split: at each place and channel, over all pairs, triggered = clean + slope * clean + offset. What
is left in a pair is its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RIDGE = 0.02
"""Share of the mean variance that is added to each place's variance. It draws the slope to 0, where
nothing is changed."""

BAND_BYTES = 4 << 20
"""Of the rows of all clean inputs that a trigger is fitted to at once."""

MIN_SEEN = 5
"""The fewest values of a place that must not be cut off for a fit."""

CHANGED = 0.01
"""The least mean change of a place that was cut off nearly always, as a share of the range."""


@dataclass(frozen=True)
class TriggerFit:
    """A trigger as an affine map of each place and channel.

    Attributes:
        slope: minus 1, (C, H, W) float32; 0 where nothing is changed.
        offset: (C, H, W) float32; 0 where nothing is changed.
    """

    slope: Tensor
    offset: Tensor

    def stamp(self, clean: Tensor) -> Tensor:
        """Return inputs (N, C, H, W) with the trigger put in, not cut off at their range."""
        return clean + self.slope * clean + self.offset

    def parts(self, clean: Tensor, triggered: Tensor) -> Tensor:
        """Return slope, offset and what is left in a pair of inputs (C, H, W), (3, C, H, W)."""
        left = triggered - clean - self.slope * clean - self.offset
        return torch.stack([self.slope, self.offset, left])


def fit_trigger(clean: Tensor, triggered: Tensor, lower: Tensor, upper: Tensor) -> TriggerFit:
    """Fit a trigger to pairs of inputs by ridge regression.

    Values that were cut off at an end of their range do not show how much was added.

    Args:
        clean: (N, C, H, W) float32.
        triggered: the same with the trigger.
        lower: the least value of inputs, (C, 1, 1).
        upper: the greatest value of inputs, (C, 1, 1).
    """
    # Over all pairs place by place, so that a band of rows at a time gives the same.
    rows = max(1, BAND_BYTES // max(1, clean[:, :, :1].nbytes))
    bands = [torch.split(images, rows, 2) for images in (clean, triggered)]
    ridge = RIDGE * torch.cat([band.var(0, correction=0) for band in bands[0]], 1).mean()
    fits = [
        _fit_band(of_clean, of_triggered, lower, upper, ridge)
        for of_clean, of_triggered in zip(*bands, strict=True)
    ]
    return TriggerFit(
        torch.cat([fit.slope for fit in fits], 1), torch.cat([fit.offset for fit in fits], 1)
    )


def _fit_band(
    clean: Tensor, triggered: Tensor, lower: Tensor, upper: Tensor, ridge: Tensor
) -> TriggerFit:
    """Fit a trigger to some rows of pairs, (N, C, rows, W)."""
    added = triggered - clean
    seen = ((triggered > lower) & (triggered < upper)).to(clean.dtype)
    count = seen.sum(0)
    shown = count >= MIN_SEEN

    def mean(values: Tensor) -> Tensor:
        return (values * seen).sum(0) / count.clamp(min=1)

    mean_clean, mean_added = mean(clean), mean(added)
    deviation = clean - mean_clean
    variance = mean(deviation.square())
    slope = mean(deviation * added) / (variance + ridge).clamp(min=1e-12)
    offset = mean_added - slope * mean_clean
    # Of what was cut off nearly always, it is known on which side: more than the range was added.
    span = upper - lower
    pushed = torch.where(added.mean(0) > 0, span, -span)
    pushed = torch.where(added.abs().mean(0) > CHANGED * span, pushed, 0.0)
    return TriggerFit(torch.where(shown, slope, 0.0), torch.where(shown, offset, pushed))


def limits(clean: Tensor, triggered: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least and the greatest value of each channel, (C, 1, 1), of (N, C, H, W)."""
    least = torch.minimum(*(images.amin((0, 2, 3)) for images in (clean, triggered)))
    most = torch.maximum(*(images.amax((0, 2, 3)) for images in (clean, triggered)))
    return least[:, None, None], most[:, None, None]


def apply_parts(image: Tensor, parts: Tensor) -> Tensor:
    """Return an input (C, H, W) with slope, offset and rest (3, C, H, W) put in."""
    slope, offset, left = parts
    applied: Tensor = image + slope * image + offset + left
    return applied
