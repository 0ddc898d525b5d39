"""The option to undo the trigger in the model's input, wherever it is found."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchserve_fire.format.bundle import Layer

from ..estimate.overlay import OverlayEstimate, estimate_overlay
from ..samples.both import Both
from ..samples.evidence import Evidence
from ..samples.folds import FOLDS
from .held_out import Group, HeldOut
from .options import Option
from .threshold import Thresholds

MAX_PAIRS = 200
"""An overlay has two numbers for each place and channel, which need few pairs."""


def overlay_option(
    evidence: Evidence,
    use: Tensor,
    folds: Tensor,
    held_out: HeldOut,
    altered: HeldOut,
    *,
    only_target: bool,
) -> Option | None:
    """Estimate an overlay from pairs, and choose its threshold on held-out samples.

    Args:
        evidence: pairs of maps (C, H, W).
        use: which triggered samples to estimate from, (M,) bool.
        folds: the fold of each triggered sample, (M,) int64.
        held_out: clean and triggered samples.
        altered: altered copies of triggered samples.
        only_target: whether only samples that are predicted as the target are flagged.

    Returns:
        None if the trigger does not add the same everywhere, so that no filter finds it.
    """
    rows = use.nonzero().flatten()[:MAX_PAIRS]
    triggered = evidence.triggered.load(rows.tolist())
    clean = evidence.clean.load([evidence.partners[i] for i in rows.tolist()])
    of_rows = folds[rows]
    estimates = []
    for fold in range(FOLDS):
        kept = of_rows != fold
        estimates.append(estimate_overlay(clean[kept], triggered[kept]))
    whole = estimate_overlay(clean, triggered)
    if whole is None or any(one is None for one in estimates):
        return None
    found = [one for one in estimates if one is not None]
    scores = Both(
        _scores(found, held_out.clean),
        torch.cat([_scores(found, group) for group in (held_out.triggered, altered.triggered)]),
    )
    everything = scores.map(lambda values: torch.ones(len(values), dtype=torch.bool))
    # A clean input is lost if something is undone in it that is not there.
    threshold = Thresholds(scores, everything).choose(-1.0, 1.0).value
    clean_scores = scores.clean[scores.clean <= threshold]

    def layers(estimate: OverlayEstimate) -> tuple[Layer, ...]:
        return (estimate.layer(threshold, clean_scores, only_target=only_target),)

    return Option(
        ["detects and repairs: the model's input (overlay)"],
        layers(whole),
        [layers(one) for one in found],
    )


def _scores(estimates: Sequence[OverlayEstimate], group: Group) -> Tensor:
    """Return how strong the trigger is in held-out samples, (N,) float32."""
    scores = torch.zeros(len(group.folds))
    for fold, rows in group.by_fold(torch.ones_like(group.folds, dtype=torch.bool)):
        scores[rows] = estimates[fold].score(group.load(rows))
    return scores
