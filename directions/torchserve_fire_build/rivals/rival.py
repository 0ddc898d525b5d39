"""What a rival is: a defence, built from what its paper grants it, that answers inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import InputDescription

from ..samples.both import Both
from ..samples.evidence import Evidence
from ..samples.predict import logits_of
from ..sanitize.labelled_samples import LabelledSamples
from ..sanitize.training import Augment, unchanged


class RivalNotApplicable(Exception):  # noqa: N818 - nothing went wrong
    """The defence cannot be built for this kind of model; the message, one line, says why."""


@dataclass(frozen=True)
class Granted:
    """What a defence may use.

    Attributes:
        evidence: clean and triggered calibration samples.
        labels: their true classes, (N,) and (M,) int64.
        target: the class that the trigger leads to, None where there are several.
        pool: clean samples, some of which are the evidence's, for defences that train.
        classes: number of classes.
        augment: changes samples that a model is trained on, such that they keep their classes.
        fresh: builds the model with first weights; None if nothing can.
    """

    evidence: Evidence
    labels: Both[Tensor]
    target: int | None
    pool: LabelledSamples
    classes: int
    augment: Augment = unchanged
    fresh: Callable[[], nn.Module] | None = None

    @property
    def labelled(self) -> Both[LabelledSamples]:
        """The calibration samples with their classes."""
        return Both(
            LabelledSamples(self.evidence.clean, self.labels.clean),
            LabelledSamples(self.evidence.triggered, self.labels.triggered),
        )

    @property
    def description(self) -> InputDescription:
        """What the model takes."""
        return self.evidence.clean.description


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


def join_answers(parts: Sequence[Answers]) -> Answers:
    """Return the answers to several batches as those to one."""
    flagged = [part.flagged for part in parts if part.flagged is not None]
    return Answers(
        torch.cat([part.predictions for part in parts]),
        torch.cat(flagged) if flagged else None,
        torch.cat([part.passes for part in parts]),
    )


Defence = Callable[[Tensor], Answers]
"""Answers inputs (N, *input shape), as the model takes them."""

Rival = Callable[[nn.Module, Granted, torch.Generator], Defence]
"""Builds a defence of a model, in evaluation mode.

The model itself is not changed; a rival that changes weights works on a copy. It raises
`RivalNotApplicable` for a model that it cannot defend.
"""


def answer_with(model: nn.Module, prepare: Callable[[Tensor], Tensor] | None = None) -> Defence:
    """Return a defence of one forward pass: of a changed model, or on changed inputs."""

    def answer(inputs: Tensor) -> Answers:
        if prepare is not None:
            inputs = prepare(inputs)
        return Answers(logits_of(model, inputs).argmax(1), None, torch.ones(len(inputs)))

    return answer
