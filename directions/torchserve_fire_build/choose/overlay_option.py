"""The option to undo the trigger in the model's input, wherever it is found."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchserve_fire.format.bundle import Layer

from ..estimate.overlay import (
    OverlayEstimate,
    estimate_overlay,
    estimate_unpaired_overlay,
)
from ..samples.both import Both
from ..samples.evidence import Evidence
from ..samples.folds import FOLDS
from .held_out import Group, HeldOut
from .options import Option
from .threshold import Thresholds

MAX_SAMPLES = 200
"""The most samples of each kind: an overlay has two numbers for each place and channel, which need
few."""


def overlay_option(
    evidence: Evidence,
    use: Both[Tensor],
    folds: Both[Tensor],
    held_out: HeldOut,
    altered: HeldOut,
    *,
    only_target: bool,
) -> Option | None:
    """Estimate an overlay, and choose its threshold on held-out samples.

    Args:
        evidence: maps (C, H, W), best pairs.
        use: which clean (N,) and triggered samples (M,) to estimate from, bool; of pairs, the
            triggered samples' partners are taken.
        folds: the fold of each clean (N,) and triggered sample (M,), int64.
        held_out: clean and triggered samples.
        altered: altered copies of triggered samples.
        only_target: whether only samples that are predicted as the target are flagged.

    Returns:
        None if the trigger does not add the same everywhere, so that no filter finds it.
    """
    estimate = estimate_overlay if evidence.paired else estimate_unpaired_overlay
    of_triggered = use.triggered.nonzero().flatten()[:MAX_SAMPLES]
    if evidence.paired:
        of_clean = torch.tensor(evidence.partners)[of_triggered]
    else:
        of_clean = use.clean.nonzero().flatten()[:MAX_SAMPLES]
    clean = evidence.clean.load(of_clean.tolist())
    triggered = evidence.triggered.load(of_triggered.tolist())
    estimates = []
    for fold in range(FOLDS):
        kept = folds.clean[of_clean] != fold, folds.triggered[of_triggered] != fold
        estimates.append(estimate(clean[kept[0]], triggered[kept[1]]))
    whole = estimate(clean, triggered)
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
