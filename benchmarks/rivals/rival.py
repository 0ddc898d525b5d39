"""What a rival is: a defence, built from what its paper grants it, that answers images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.evidence import Evidence
from benchmarks.victims.data import Images
from benchmarks.victims.train import normalise


class RivalNotApplicable(Exception):  # noqa: N818 - nothing went wrong
    """The defence cannot be built for this kind of model; the message, one line, says why."""


@dataclass(frozen=True)
class Granted:
    """What a defence may use.

    Attributes:
        evidence: clean and triggered calibration samples, with their true labels.
        target: the class that the trigger leads to, None where there are several.
        pool: clean images, some of which are the evidence's: 4 % of CIFAR-10's training images,
            for defences that are granted 5 % of the training set.
        classes: number of classes.
    """

    evidence: Evidence
    target: int | None
    pool: Images
    classes: int


@dataclass(frozen=True)
class Answers:
    """What a defended model answers.

    Attributes:
        predictions: classes, (N,) int64.
        flagged: which inputs were judged triggered, (N,) bool; None where nothing judges.
        passes: forward passes that each input took, (N,) float32.
    """

    predictions: Tensor
    flagged: Tensor | None
    passes: Tensor


Defence = Callable[[Tensor], Answers]
"""Answers images (N, 3, H, W), float32 in [0, 1]."""

Rival = Callable[[nn.Module, Granted, torch.Generator], Defence]
"""Builds a defence of a model, in evaluation mode, which takes images normalised by `normalise`.

The model itself is not changed; a rival that changes weights works on a copy. It raises
`RivalNotApplicable` for a model that it cannot defend.
"""


def answer_with(model: nn.Module, prepare: Callable[[Tensor], Tensor] | None = None) -> Defence:
    """Return a defence of one forward pass: of a changed model, or on changed images."""

    def answer(images: Tensor) -> Answers:
        if prepare is not None:
            images = prepare(images)
        with torch.no_grad():
            predictions = model(normalise(images)).argmax(1)
        return Answers(predictions, None, torch.ones(len(images)))

    return answer
