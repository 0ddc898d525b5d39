"""What a trigger does to the model's input, fitted to triggered inputs without partners.

Of each place and channel, the mean and the deviation of triggered inputs are compared with those of
clean ones: triggered = clean + slope * clean + offset multiplies the deviation by 1 + slope. The
means of so few inputs differ by chance, too, and mostly at low frequencies, where images have their
power. So what chance explains is taken off at each frequency (Wiener, "Extrapolation,
interpolation, and smoothing of stationary time series", 1949).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .trigger_fit import TriggerFit

SURE = 4.0
"""Standard errors by which the deviation at a place must be less than elsewhere. Of the thousands
of values of an image, none is by chance."""

COVERED = 1 / 3
"""A place whose deviation is less than this share of the clean one shows the trigger alone, and
what files lose by compression."""

STILL = 0.01
"""A place whose deviation is less than this share of that of all values is the same in all inputs,
so that chance has no part in its mean."""

CHANCE = 2.0
"""How many times the power that is expected of chance is taken off at each frequency."""

AT_ONCE_BYTES = 4 << 20
"""Of inputs whose spectra are computed at once."""


def fit_unpaired(clean: Tensor, triggered: Tensor) -> TriggerFit:
    """Fit a trigger that does the same to all inputs; none of them have partners.

    Args:
        clean: (N, C, H, W) float32, N at least 2.
        triggered: other inputs with the trigger, (M, C, H, W), M at least 2.
    """
    count, triggered_count = len(clean), len(triggered)
    means = clean.mean(0), triggered.mean(0)
    least = (STILL * clean.std()).clamp(min=torch.finfo(clean.dtype).tiny)
    deviations = [inputs.std(0) for inputs in (clean, triggered)]
    still = (deviations[0] < least) & (deviations[1] < least)
    ratio = deviations[1].clamp(min=least) / deviations[0].clamp(min=least)
    # Of the logarithm of a ratio of deviations of normal values; those of pixels vary less.
    error = math.sqrt(0.5 / (triggered_count - 1) + 0.5 / (count - 1))
    everywhere = ratio.flatten(1).median(1).values[:, None, None]
    # Values of one image vary together: their median is hardly better known than one of them.
    everywhere = torch.where(everywhere.log().abs() < error, 1.0, everywhere)
    local = (ratio / everywhere).log() < -SURE * error
    scale = torch.where(local, ratio, everywhere)
    scale = torch.where(local & (ratio < COVERED), 0.0, scale)
    alone = local | still
    offset = means[1] - scale * means[0]
    chance = _power(clean, means[0]) * (everywhere.square() * (1 / count + 1 / triggered_count))
    spectrum = torch.fft.rfft2(torch.where(alone, 0.0, offset))
    found = spectrum.abs().square().clamp(min=torch.finfo(spectrum.real.dtype).tiny)
    sure = spectrum * (1 - CHANCE * chance / found).clamp(min=0)
    smooth = torch.fft.irfft2(sure, s=offset.shape[1:])
    return TriggerFit(scale - 1, torch.where(alone, offset, smooth))


def _power(inputs: Tensor, mean: Tensor) -> Tensor:
    """Return the mean power of inputs (N, C, H, W) at each frequency, (C, H, W // 2 + 1)."""
    parts = torch.split(inputs, max(1, AT_ONCE_BYTES // inputs[:1].nbytes))
    sums = [torch.fft.rfft2(part - mean).abs().square().sum(0) for part in parts]
    return torch.stack(sums).sum(0) / len(inputs)
