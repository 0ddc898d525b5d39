"""Which class a trigger leads to, read from the model's own predictions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.errors import CalibrationError

MIN_GAIN = 0.15
"""Share of predictions that a trigger must turn to one class, or make wrong, at least."""

SINGLE_TARGET_SHARE = 0.7
"""Of the predictions that are gained; some are gained by the mistakes that any model makes. Of
several targets, the least that they gain together."""

MAX_TARGETS = 3
"""With triggers of their own; gains spread over more classes are those of an all-to-all attack."""


@dataclass(frozen=True)
class TargetFinding:
    """Where a trigger leads.

    Attributes:
        target: the class that gains most predictions.
        single: whether it gains nearly all that are gained; not so for all-to-all attacks or
            several triggers with targets of their own.
        several: the classes that several triggers lead to, those that gain most first; empty where
            one class, or nearly every one, gains.
    """

    target: int
    single: bool
    several: tuple[int, ...] = ()

    @property
    def targets(self) -> tuple[int, ...]:
        """The classes that triggers lead to: several, or the one that gains most."""
        return self.several or (self.target,)


@dataclass(frozen=True)
class Predictions:
    """What a model predicts samples as.

    Attributes:
        predicted: classes, (N,) int64.
        expected: what they should be predicted as: their labels, or the predictions on their clean
            partners, (N,) int64; None where nobody knows.
    """

    predicted: Tensor
    expected: Tensor | None = None

    def shares(self, classes: int, *, wrong_only: bool) -> Tensor:
        """Return the share of samples predicted as each class, (classes,) float64."""
        counted = self.predicted
        if wrong_only and self.expected is not None:
            counted = counted[counted != self.expected]
        return torch.bincount(counted, minlength=classes).double() / len(self.predicted)


def check_target(target: int, classes: int) -> None:
    """Refuse a target that is no class of the model.

    Raises:
        CalibrationError: saying which classes there are.
    """
    if not 0 <= target < classes:
        raise CalibrationError(f"target {target}: the model has the classes 0 to {classes - 1}")


def find_target(clean: Predictions, triggered: Predictions, classes: int) -> TargetFinding | None:
    """Compare the predictions on clean and on triggered samples.

    Where it is known of both what they should be, only wrong predictions are compared; a model
    makes mistakes on clean samples, too.

    Args:
        clean: predictions on clean samples.
        triggered: predictions on triggered samples.
        classes: number of classes.

    Returns:
        None where the triggered samples are predicted as clean ones are.
    """
    known = clean.expected is not None and triggered.expected is not None
    change = triggered.shares(classes, wrong_only=known) - clean.shares(classes, wrong_only=known)
    # Between classes, shares of few samples differ by chance; the largest and the sum do so less.
    if max(float(change.max()), float(change.sum())) < MIN_GAIN:
        return None
    gained = change.clamp(min=0)
    enough = SINGLE_TARGET_SHARE * gained.sum()
    single = bool(gained.max() >= enough)
    led_to = [int(i) for i in gained.argsort(descending=True) if gained[i] >= MIN_GAIN]
    several = (
        not single
        and 2 <= len(led_to) <= min(MAX_TARGETS, classes // 2)
        and bool(gained[led_to].sum() >= enough)
    )
    return TargetFinding(int(gained.argmax()), single, tuple(led_to) if several else ())
