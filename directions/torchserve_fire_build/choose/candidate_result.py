"""What becomes of the held-out samples under a candidate repair."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchserve_fire.repair.corrections import project

from ..common.hooks import record_features
from ..estimate.detectors import DETECTORS, Detector
from ..estimate.layer_statistics import Statistics
from ..samples.predict import logits_of
from .held_out import Group, HeldOut


@dataclass(frozen=True)
class CandidateResult:
    """How right the held-out samples are, each from 0 (wrong) to 1.

    It is the probability of the right class: of few samples, its mean differs less by chance than
    the share of right answers does, and the best of many candidates is one that chance favoured.
    Of triggered samples with a clean partner it is the mean of that and of what the probabilities
    have in common with those that the model gives the partner: all of them together say still more.
    Where neither partner nor class is known, it is the mean of how sure the model is that a sample
    is not what the attacker wants, and of what the probabilities have in common with those that
    repairs agree on (`choose.consensus`), times how sure these are that it is triggered.

    Attributes:
        clean: (N,) float32.
        triggered: (M,) float32.
        clean_predictions: (N,) int64.
        triggered_predictions: (M,) int64.
    """

    clean: Tensor
    triggered: Tensor
    clean_predictions: Tensor
    triggered_predictions: Tensor


def result_of(
    held_out: HeldOut, clean: Tensor, triggered: Tensor, target: int | None
) -> CandidateResult:
    """Judge logits of the held-out clean (N, classes) and triggered (M, classes) samples.

    Args:
        held_out: the samples.
        clean: logits of the clean ones.
        triggered: of the triggered ones.
        target: the class that the trigger leads to; None where it is nearly any: what the attacker
            wants of a sample is then what it was predicted as before any repair.
    """
    return CandidateResult(
        _value(clean, held_out.clean, target),
        _value(triggered, held_out.triggered, target),
        clean.argmax(1),
        triggered.argmax(1),
    )


def unwanted_classes(group: Group, target: int | None) -> Tensor:
    """Return what the attacker wants each sample to be called, (N,) int64.

    Args:
        group: the samples.
        target: as `outcome_of` takes it.
    """
    return group.predictions if target is None else torch.full_like(group.predictions, target)


def _value(logits: Tensor, group: Group, target: int | None) -> Tensor:
    probabilities = logits.softmax(1)
    if group.reference is None:
        right = _sure_of_others(probabilities, unwanted_classes(group, target))
        if group.expected is None:
            return right
        # A sample that is likely to be clean has little say.
        sure = group.expected.sum(1)
        return (sure * right + _shared(sure[:, None] * probabilities, group.expected)) / 2
    right = probabilities.gather(1, group.reference[:, None]).flatten()
    return right if group.expected is None else (right + _shared(probabilities, group.expected)) / 2


def _sure_of_others(probabilities: Tensor, unwanted: Tensor) -> Tensor:
    """Return the probability of each predicted class, (M,); 0 where that is the unwanted one."""
    confidence, predicted = probabilities.max(1)
    return confidence * (predicted != unwanted)


def _shared(one: Tensor, other: Tensor) -> Tensor:
    # Of distributions it is 1 less their total variation distance.
    return torch.minimum(one, other).sum(1)


def score_detectors(
    model: nn.Module, statistics: Statistics, layers: list[str], held_out: HeldOut
) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
    """Score the held-out samples with every detector at every layer, in one pass over them.

    Returns:
        (detector, layer) to the scores of the clean (N,) and of the triggered samples (M,); a
        detector that cannot be estimated on every fold is left out.
    """
    groups = (held_out.clean, held_out.triggered)
    scores: dict[tuple[str, str], tuple[Tensor, Tensor]] = {
        (detector, layer): (torch.zeros(len(groups[0].folds)), torch.zeros(len(groups[1].folds)))
        for detector in DETECTORS
        for layer in layers
    }
    for fold in range(int(max(group.folds.max() for group in groups)) + 1):
        detectors: dict[str, dict[str, Detector]] = {layer: {} for layer in layers}
        for layer in layers:
            statistics_of_layer = statistics.without(fold, layer)
            for name, estimate in DETECTORS.items():
                detector = estimate(statistics_of_layer)
                if detector is None:
                    scores.pop((name, layer), None)
                else:
                    detectors[layer][name] = detector
        for g, group in enumerate(groups):
            for _, indices in group.by_fold(group.folds == fold):

                def take(
                    layer: str,
                    feature: Tensor,
                    g: int = g,
                    indices: Tensor = indices,
                    detectors: dict[str, dict[str, Detector]] = detectors,
                ) -> None:
                    for name, detector in detectors[layer].items():
                        if (name, layer) in scores:
                            projection = project(feature, detector.weight.to(feature.device))
                            scores[name, layer][g][indices] = projection.cpu() - detector.offset

                with record_features(model, layers, take):
                    logits_of(model, group.inputs[indices])
    return scores
