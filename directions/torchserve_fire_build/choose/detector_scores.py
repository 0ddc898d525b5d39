"""The scores that every detector at every layer gives the held-out samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from torchserve_fire.repair.corrections import project

from ..common.hooks import record_features
from ..estimate.detectors import DETECTORS, Detector
from ..estimate.layer_statistics import Statistics
from ..samples.both import Both
from ..samples.predict import logits_of
from .held_out import HeldOut
from .kept_features import KeptFeatures

Scores = Mapping[tuple[str, str], Both[Tensor]]
"""(detector, layer) to the scores of the clean (N,) and of the triggered held-out samples (M,)."""


def score_detectors(
    model: nn.Module,
    statistics: Statistics,
    layers: Sequence[str],
    held_out: HeldOut,
    kept: KeptFeatures | None = None,
) -> Scores:
    """Score the held-out samples in one pass, each with detectors estimated without its fold.

    Args:
        model: in evaluation mode.
        statistics: of the layers, fold by fold.
        layers: module names.
        held_out: the samples.
        kept: stores the features that the pass computes.

    Returns:
        The scores, without the detectors that cannot be estimated on every fold.
    """
    scores: dict[tuple[str, str], Both[Tensor]] = {
        (name, layer): held_out.map(lambda group: torch.zeros(len(group.folds)))
        for name in DETECTORS
        for layer in layers
    }
    for fold in range(int(max(group.folds.max() for group in held_out)) + 1):
        detectors: dict[str, dict[str, Detector]] = {layer: {} for layer in layers}
        for layer in layers:
            of_layer = statistics.without(fold, layer)
            for name, estimate in DETECTORS.items():
                detector = estimate(of_layer)
                if detector is None:
                    scores.pop((name, layer), None)
                else:
                    detectors[layer][name] = detector
        for is_clean, group in zip((True, False), held_out, strict=True):
            for _, rows in group.by_fold(group.folds == fold):

                def take(
                    layer: str,
                    feature: Tensor,
                    is_clean: bool = is_clean,
                    rows: Tensor = rows,
                    detectors: dict[str, dict[str, Detector]] = detectors,
                ) -> None:
                    if kept is not None:
                        kept.add(layer, rows, feature, clean=is_clean)
                    for name, detector in detectors[layer].items():
                        if (both := scores.get((name, layer))) is not None:
                            score = project(feature, detector.weight.to(feature.device)).cpu()
                            into = both.clean if is_clean else both.triggered
                            into[rows] = score - detector.offset

                with record_features(model, layers, take):
                    logits_of(model, group.load(rows))
    return scores
