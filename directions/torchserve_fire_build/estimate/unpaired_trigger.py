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

ROUNDS = 4
"""The most fits, each without the inputs that hardly show the one before."""

HARDLY = 0.5
"""An input shows hardly any of the trigger that has less of it than this share of the median."""

MOST_SPREAD = 0.2
"""The largest deviation of clean inputs' scores at which inputs are left out, as a share of the
median."""

FLOOR = 1e-3
"""Share of their mean power that is added at every frequency, as the power at high ones is known
badly."""

TINY = torch.finfo(torch.float32).tiny

AT_ONCE_BYTES = 4 << 20
"""Of inputs whose spectra are computed at once."""


def fit_unpaired(clean: Tensor, triggered: Tensor) -> TriggerFit:
    """Fit a trigger that does the same to all inputs; none of them have partners.

    Some of the triggered inputs may have no trigger, as others of the target's class: those that
    hardly show what was fitted are left out of the next round.

    Args:
        clean: (N, C, H, W) float32, N at least 2.
        triggered: other inputs, most of them with the trigger, (M, C, H, W), M at least 2.
    """
    mean = clean.mean(0)
    power = _power(clean, mean)
    shown = torch.ones(len(triggered), dtype=torch.bool)
    for _ in range(ROUNDS):
        fit = _fit_once(clean, triggered[shown], power)
        pattern = fit.slope * mean + fit.offset
        # What is rare in clean inputs counts most, as in a matched filter.
        rare = torch.fft.rfft2(pattern) / (power + FLOOR * power.mean()).clamp(min=TINY)
        weight = torch.fft.irfft2(rare, s=pattern.shape[1:])
        base = (mean * weight).sum()
        ours, scores = (x.flatten(1) @ weight.flatten() - base for x in (clean, triggered))
        middle = scores.median()
        found = scores > HARDLY * middle
        # Where clean inputs vary by as much, a low score says nothing.
        unsure = ours.std() > MOST_SPREAD * middle
        if unsure or int(found.sum()) < 2 or torch.equal(found, shown):
            break
        shown = found
    return fit


def _fit_once(clean: Tensor, triggered: Tensor, power: Tensor) -> TriggerFit:
    """Fit a trigger to inputs that all have it.

    Args:
        clean: (N, C, H, W) float32.
        triggered: (M, C, H, W) float32.
        power: of the clean inputs at each frequency, (C, H, W // 2 + 1).
    """
    count, triggered_count = len(clean), len(triggered)
    means = clean.mean(0), triggered.mean(0)
    least = (STILL * clean.std()).clamp(min=TINY)
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
    chance = power * (everywhere.square() * (1 / count + 1 / triggered_count))
    spectrum = torch.fft.rfft2(torch.where(alone, 0.0, offset))
    found = spectrum.abs().square().clamp(min=TINY)
    sure = spectrum * (1 - CHANCE * chance / found).clamp(min=0)
    smooth = torch.fft.irfft2(sure, s=offset.shape[1:])
    return TriggerFit(scale - 1, torch.where(alone, offset, smooth))


def _power(inputs: Tensor, mean: Tensor) -> Tensor:
    """Return the mean power of inputs (N, C, H, W) at each frequency, (C, H, W // 2 + 1)."""
    parts = torch.split(inputs, max(1, AT_ONCE_BYTES // inputs[:1].nbytes))
    sums = [torch.fft.rfft2(part - mean).abs().square().sum(0) for part in parts]
    return torch.stack(sums).sum(0) / len(inputs)
