"""The overlay: what a trigger does to the model's input, and the filter that finds it anywhere.

The filter is a matched filter for the content of clean inputs: of all directions of projection, it
separates the trigger best from that content, wherever it is (Turin, "An introduction to matched
filters", 1960; Bolme et al., "Average of synthetic exact filters", 2009, for images).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchserve_fire.format.bundle import INPUT_LAYER, Detection, Layer
from torchserve_fire.format.clean_scores import CleanScores
from torchserve_fire.format.correction_forms import Overlay
from torchserve_fire.repair.overlay import MovingProjection

from .spectra import FLOOR, spectra
from .trigger_fit import TriggerFit, fit_trigger, limits
from .unpaired_trigger import fit_unpaired, mean_change

RIDGE = 0.1
"""Share of the power of clean inputs at a frequency that is added to each channel there."""

GAUGE_RIDGE = 0.01
"""Share of a filter's mean answer to its own channel that is added to each before solving."""


@dataclass(frozen=True)
class OverlayEstimate:
    """An overlay, and how it is found.

    Attributes:
        overlay: what the trigger does to the input.
        weight: what inputs are projected on to find it, (C, H, W) float32. The score of the
            triggered samples is on average that of the clean ones plus 1.
    """

    overlay: Overlay
    weight: Tensor

    def score(self, inputs: Tensor) -> Tensor:
        """Return how strong the trigger is in inputs (N, C, H, W), (N,) float32: 0 is clean."""
        scores: Tensor = MovingProjection(self.weight, 0.0)(inputs) - self.overlay.base
        return scores

    def layer(self, threshold: float, clean_scores: Tensor, *, only_target: bool) -> Layer:
        """Return the overlay as a bundle stores it.

        Args:
            threshold: of the scores.
            clean_scores: scores of held-out clean samples that are not flagged, (N,).
            only_target: whether only samples that are predicted as the target are flagged.
        """
        spread = CleanScores.of(clean_scores + self.overlay.base) if len(clean_scores) else None
        detection = Detection(
            self.weight, threshold + self.overlay.base, only_target, spread, anywhere=True
        )
        shape = tuple(self.weight.shape)
        return Layer(INPUT_LAYER, shape, detection=detection, correction=self.overlay)


def estimate_overlay(clean: Tensor, triggered: Tensor) -> OverlayEstimate | None:
    """Estimate an overlay from pairs.

    Args:
        clean: inputs, (N, C, H, W) float32.
        triggered: the same with the trigger.

    Returns:
        None if no projection separates the triggered inputs from the clean ones.
    """
    lower, upper = limits(clean, triggered)
    fit = fit_trigger(clean, triggered, lower, upper)
    return _overlay(clean, fit, (triggered - clean).mean(0), lower, upper)


def estimate_unpaired_overlay(clean: Tensor, triggered: Tensor) -> OverlayEstimate | None:
    """Estimate an overlay from triggered inputs without partners.

    Args:
        clean: inputs, (N, C, H, W) float32.
        triggered: other inputs with the trigger, (M, C, H, W) float32.

    Returns:
        None if no projection separates the triggered inputs from the clean ones.
    """
    lower, upper = limits(clean, triggered)
    fit = fit_unpaired(clean, triggered)
    return _overlay(clean, fit, mean_change(fit, clean, lower, upper), lower, upper)


def _overlay(
    clean: Tensor, fit: TriggerFit, pattern: Tensor, lower: Tensor, upper: Tensor
) -> OverlayEstimate | None:
    """Return the overlay of a trigger that adds a pattern (C, H, W) on average."""
    channel_means = clean.mean((0, 2, 3))[:, None, None]
    filters = _matched_filters(clean, channel_means, pattern)
    # How each filter answers to the trigger in each channel, (filters, channels).
    answers = (filters * pattern).sum((2, 3))
    total = answers.sum()
    if not float(total) > 0:
        return None
    weight = filters.sum(0) / total
    # A trigger may leave a channel as it is: then nothing shows how strong it is there.
    penalty = GAUGE_RIDGE * answers.diagonal().mean() * torch.eye(len(answers))
    gauges = torch.linalg.solve(answers + penalty, filters.flatten(1)).view_as(filters)
    bases = (gauges * clean.mean(0)).sum((1, 2, 3))
    base = float((weight * clean.mean(0)).sum())
    overlay = Overlay(fit.offset, 1.0, fit.slope, gauges, tuple(bases.tolist()), base, lower, upper)
    return OverlayEstimate(overlay, weight)


def _matched_filters(clean: Tensor, channel_means: Tensor, pattern: Tensor) -> Tensor:
    """Return the matched filter of each channel of a pattern.

    Args:
        clean: what the pattern is to be told from, (N, C, H, W).
        channel_means: what is subtracted from it, (C, 1, 1).
        pattern: (C, H, W).

    Returns:
        (C, C, H, W): for each channel of the pattern, the filter (C, H, W).
    """
    sums = []
    for part in spectra(clean, channel_means):
        rows = part.permute(2, 3, 0, 1)
        sums.append(torch.einsum("hwnc,hwnd->hwcd", rows, rows.conj()))
    covariance = torch.stack(sums).sum(0) / len(clean)
    power = covariance.diagonal(dim1=-2, dim2=-1).real.mean(-1)
    ridge = RIDGE * power + FLOOR * power.mean()
    channels = torch.eye(len(pattern), dtype=covariance.dtype)
    # One column for each channel of the pattern: (H, W // 2 + 1, C, C).
    alone = torch.diag_embed(torch.fft.rfft2(pattern).permute(1, 2, 0))
    solved = torch.linalg.solve(covariance + ridge[..., None, None] * channels, alone)
    filters: Tensor = torch.fft.irfft2(solved.permute(3, 2, 0, 1), s=pattern.shape[1:])
    return filters
