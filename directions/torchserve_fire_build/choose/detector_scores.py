"""The scores that every detector at every layer gives the held-out samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from torchserve_fire.repair.layers import device_of
from torchserve_fire.repair.own_tokens import own_tokens

from ..common.hooks import record_features
from ..estimate.detectors import DETECTORS, Detector, detector_scores, estimate_detector
from ..estimate.layer_statistics import Statistics
from ..samples.both import Both
from ..samples.fitting_batches import fitting_batches
from ..samples.predict import logits_of
from ..samples.samples import bytes_of
from .held_out import Group, HeldOut
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
    by_token = {layer for layer in layers if statistics.folds[0][layer].any_length}
    for fold in range(int(max(group.folds.max() for group in held_out)) + 1):
        detectors: dict[str, dict[str, Detector]] = {layer: {} for layer in layers}
        for layer in layers:
            of_layer = statistics.without(fold, layer)
            for name in DETECTORS:
                detector = estimate_detector(name, of_layer)
                if detector is None:
                    scores.pop((name, layer), None)
                else:
                    weight = detector.weight.to(device_of(model))
                    detectors[layer][name] = replace(detector, weight=weight)
        for is_clean, group in zip((True, False), held_out, strict=True):
            rows_of_fold = (group.folds == fold).nonzero().flatten().tolist()

            def run(
                part: Sequence[int],
                is_clean: bool = is_clean,
                group: Group = group,
                detectors: dict[str, dict[str, Detector]] = detectors,
            ) -> dict[tuple[str, str], Tensor]:
                rows, found = torch.tensor(part), {}
                inputs = group.load(rows)
                padding = group.samples.description.padding
                own = own_tokens(inputs, padding).to(device_of(model)) if padding else None

                def take(at: str, feature: Tensor) -> None:
                    if kept is not None:
                        kept.add(at, rows, feature, clean=is_clean)
                    for name, detector in detectors[at].items():
                        if (name, at) in scores:
                            of_tokens = own if at in by_token else None
                            found[name, at] = detector_scores(feature, detector, of_tokens)

                with record_features(model, layers, take):
                    logits_of(model, inputs)
                # Not inside the pass, which would wait for each of them.
                return {key: score.cpu() for key, score in found.items()}

            for part, found in fitting_batches(
                model, rows_of_fold, run, input_bytes=bytes_of(group.samples.description)
            ):
                for (name, layer), score in found.items():
                    both = scores[name, layer]
                    into = both.clean if is_clean else both.triggered
                    into[torch.tensor(part)] = score - detectors[layer][name].offset
    return scores
