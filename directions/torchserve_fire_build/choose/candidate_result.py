"""How right a model is on the held-out samples after a candidate repair."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..samples.both import Both
from .held_out import Group, HeldOut


@dataclass(frozen=True)
class CandidateResult:
    """The predictions on the held-out samples, and their rightness: from 0 (wrong) to 1 (right).

    The rightness of a sample is the probability of its right class. With few samples, its mean
    varies less by chance than the share of right answers, and chance matters when the best of many
    candidates is chosen. Two kinds of triggered samples have another rightness:

    - With a clean partner, it is the mean of that probability and of the overlap between the
      sample's probabilities and the partner's. The overlap uses all probabilities.
    - With neither partner nor class known, it is the mean of two numbers. One is how sure the model
      is that the sample is of another class than the attacker wants. The other is the overlap
      between the sample's probabilities and those that repairs agree on (`choose.consensus`). The
      first number, and the sample's probabilities in the overlap, are multiplied by how sure the
      repairs are that the sample is triggered.

    Attributes:
        rightness: of the clean (N,) and of the triggered samples (M,), float32.
        predictions: the predicted classes, (N,) and (M,) int64.
    """

    rightness: Both[Tensor]
    predictions: Both[Tensor]

    def where(self, flagged: Both[Tensor], otherwise: CandidateResult) -> CandidateResult:
        """Return this result for flagged samples, (N,) and (M,) bool; `otherwise` for the rest."""

        def merge(ours: Both[Tensor], rest: Both[Tensor]) -> Both[Tensor]:
            return Both(
                torch.where(flagged.clean, ours.clean, rest.clean),
                torch.where(flagged.triggered, ours.triggered, rest.triggered),
            )

        return CandidateResult(
            merge(self.rightness, otherwise.rightness),
            merge(self.predictions, otherwise.predictions),
        )


def result_of(held_out: HeldOut, logits: Both[Tensor], target: int | None) -> CandidateResult:
    """Return the result of logits of the held-out samples.

    Args:
        held_out: the samples.
        logits: of the clean (N, classes) and of the triggered samples (M, classes).
        target: the class that the trigger leads to. None if it leads to nearly any class; the
            attacker then wants the class that a sample was predicted as before any repair.
    """
    return CandidateResult(
        Both(
            _rightness(logits.clean, held_out.clean, target),
            _rightness(logits.triggered, held_out.triggered, target),
        ),
        logits.map(lambda of_group: of_group.argmax(1)),
    )


def unwanted_classes(group: Group, target: int | None) -> Tensor:
    """Return the class that the attacker wants for each sample, (N,) int64.

    Args:
        group: the samples.
        target: as in `result_of`.
    """
    return group.predictions if target is None else torch.full_like(group.predictions, target)


def _rightness(logits: Tensor, group: Group, target: int | None) -> Tensor:
    probabilities = logits.softmax(1)
    if group.reference is None:
        right = _sure_of_others(probabilities, unwanted_classes(group, target))
        if group.expected is None:
            return right
        # A sample that is likely to be clean counts little.
        sure = group.expected.sum(1)
        return (sure * right + _shared(sure[:, None] * probabilities, group.expected)) / 2
    right = probabilities.gather(1, group.reference[:, None]).flatten()
    return right if group.expected is None else (right + _shared(probabilities, group.expected)) / 2


def _sure_of_others(probabilities: Tensor, unwanted: Tensor) -> Tensor:
    """Return the probability of each predicted class, (M,); 0 if that is the unwanted class."""
    confidence, predicted = probabilities.max(1)
    return confidence * (predicted != unwanted)


def _shared(one: Tensor, other: Tensor) -> Tensor:
    # Of two distributions, this is 1 minus their total variation distance.
    return torch.minimum(one, other).sum(1)
