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

from torchserve_fire.repair.overlay import AT_LIMIT

from .spectra import FLOOR, spectra
from .trigger_fit import MIN_SEEN, TriggerFit, limits

SURE = 4.0
"""Standard errors by which the deviation at a place must be less than elsewhere. Of the thousands
of values of an image, none is by chance."""

COVERED = 1 / 3
"""A place whose deviation is less than this share of the clean one shows the trigger alone, and
what files lose by compression."""

CUT_OFT = 0.1
"""How much more often than in clean inputs a place is cut off, where the trigger does it."""

QUANTILES = 99
"""Of the values of a place that is cut off: as many are compared as are not at the end."""

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

TINY = torch.finfo(torch.float32).tiny


def fit_unpaired(clean: Tensor, triggered: Tensor) -> TriggerFit:
    """Fit a trigger that does the same to all inputs; none of them have partners.

    Some of the triggered inputs may have no trigger, as others of the target's class: those that
    hardly show what was fitted are left out of the next round.

    Args:
        clean: (N, C, H, W) float32, N at least 2.
        triggered: other inputs, most of them with the trigger, (M, C, H, W), M at least 2.
    """
    mean, power = clean.mean(0), _power(clean)
    shown = torch.ones(len(triggered), dtype=torch.bool)
    for _ in range(ROUNDS):
        fit = _fit_once(clean, triggered[shown], power)
        # What is rare in clean inputs counts most, as in a matched filter.
        pattern = mean_change(fit, clean, *limits(clean, triggered))
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


def mean_change(fit: TriggerFit, clean: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Return what a trigger adds to inputs (N, C, H, W) on average, (C, H, W).

    Args:
        fit: the trigger.
        clean: the inputs.
        lower: their least value, (C, 1, 1).
        upper: their greatest value, (C, 1, 1).
    """
    return torch.clamp(fit.stamp(clean), lower, upper).sub_(clean).mean(0)


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
    offset = means[1] - scale * means[0]
    lower, upper = limits(clean, triggered)
    cut = _cut_off_more(clean, triggered, lower, upper)
    if bool(cut.any()):
        ends, usual = (
            (lower.expand_as(cut)[cut], upper.expand_as(cut)[cut]),
            everywhere.expand_as(cut),
        )
        scale[cut], offset[cut] = _fit_cut_off(
            clean[:, cut], triggered[:, cut], ends, usual[cut], error
        )
    alone = local | still | cut
    chance = power * (everywhere.square() * (1 / count + 1 / triggered_count))
    spectrum = torch.fft.rfft2(torch.where(alone, 0.0, offset))
    found = spectrum.abs().square().clamp(min=TINY)
    sure = spectrum * (1 - CHANCE * chance / found).clamp(min=0)
    smooth = torch.fft.irfft2(sure, s=offset.shape[1:])
    return TriggerFit(scale - 1, torch.where(alone, offset, smooth))


def _cut_off_more(clean: Tensor, triggered: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Return the places that a trigger cuts off at an end of their range, (C, H, W) bool.

    Args:
        clean: (N, C, H, W).
        triggered: (M, C, H, W).
        lower: the least value of inputs, (C, 1, 1).
        upper: the greatest value of inputs, (C, 1, 1).
    """
    margin = AT_LIMIT * (upper - lower)
    often, naturally = (
        ((x <= lower + margin) | (x >= upper - margin)).float().mean(0) for x in (triggered, clean)
    )
    error = (often * (1 - often) / len(triggered)).sqrt()
    return often - naturally > (SURE * error).clamp(min=CUT_OFT)


def _fit_cut_off(
    clean: Tensor, triggered: Tensor, ends: tuple[Tensor, Tensor], usual: Tensor, error: float
) -> tuple[Tensor, Tensor]:
    """Fit places at which values are cut off, which do not show how much was added.

    Quantiles of the triggered inputs that are not cut off are compared with the same ones of the
    clean inputs.

    Args:
        clean: their values in clean inputs, (N, K).
        triggered: in triggered inputs, (M, K).
        ends: the least and the greatest value of each, (K,).
        usual: the scale of most places, (K,).
        error: the standard error of the logarithm of a scale.

    Returns:
        The scale, which is 1 plus the slope, and the offset of each, (K,).
    """
    lower, upper = ends
    span = upper - lower
    levels = torch.linspace(0, 1, QUANTILES + 2)[1:-1].to(clean.dtype)
    before, after = (torch.quantile(x, levels, dim=0) for x in (clean, triggered))
    seen = (after > lower + AT_LIMIT * span) & (after < upper - AT_LIMIT * span)
    count = seen.sum(0).clamp(min=1)
    means = [(x * seen).sum(0) / count for x in (before, after)]
    spreads = [
        (((x - mean) * seen).square().sum(0) / count).sqrt().clamp(min=TINY)
        for x, mean in zip((before, after), means, strict=True)
    ]
    ratio = spreads[1] / spreads[0]
    # Few quantiles say little of the scale.
    unsure = SURE * error * (QUANTILES / count).sqrt()
    scale = torch.where((ratio / usual).log().abs() < unsure, usual, ratio)
    # Of what is cut off nearly always, it is known on which side: more than the range was added.
    pushed = torch.where(after.mean(0) > before.mean(0), span, -span)
    shown = seen.sum(0) >= MIN_SEEN
    return torch.where(shown, scale, 1.0), torch.where(shown, means[1] - scale * means[0], pushed)


def _power(inputs: Tensor) -> Tensor:
    """Return the mean power of inputs (N, C, H, W) at each frequency, (C, H, W // 2 + 1)."""
    sums = [part.abs().square().sum(0) for part in spectra(inputs, inputs.mean(0))]
    return torch.stack(sums).sum(0) / len(inputs)
