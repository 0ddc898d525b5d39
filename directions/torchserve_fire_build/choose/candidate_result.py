"""What becomes of the held-out samples under a candidate repair."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..samples.both import Both
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
        rightness: of the clean (N,) and of the triggered samples (M,), float32.
        predictions: the predicted classes, (N,) and (M,) int64.
    """

    rightness: Both[Tensor]
    predictions: Both[Tensor]

    def where(self, flagged: Both[Tensor], otherwise: CandidateResult) -> CandidateResult:
        """Return this result of flagged samples, (N,) and (M,) bool, and another of the rest."""

        def merge(ours: Both[Tensor], others: Both[Tensor]) -> Both[Tensor]:
            return Both(
                torch.where(flagged.clean, ours.clean, others.clean),
                torch.where(flagged.triggered, ours.triggered, others.triggered),
            )

        return CandidateResult(
            merge(self.rightness, otherwise.rightness),
            merge(self.predictions, otherwise.predictions),
        )


def result_of(held_out: HeldOut, logits: Both[Tensor], target: int | None) -> CandidateResult:
    """Judge logits of the held-out samples.

    Args:
        held_out: the samples.
        logits: of the clean (N, classes) and of the triggered ones (M, classes).
        target: the class that the trigger leads to; None where it is nearly any: what the attacker
            wants of a sample is then what it was predicted as before any repair.
    """
    return CandidateResult(
        Both(
            _rightness(logits.clean, held_out.clean, target),
            _rightness(logits.triggered, held_out.triggered, target),
        ),
        logits.map(lambda each: each.argmax(1)),
    )


def unwanted_classes(group: Group, target: int | None) -> Tensor:
    """Return what the attacker wants each sample to be called, (N,) int64.

    Args:
        group: the samples.
        target: as `result_of` takes it.
    """
    return group.predictions if target is None else torch.full_like(group.predictions, target)


def _rightness(logits: Tensor, group: Group, target: int | None) -> Tensor:
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
