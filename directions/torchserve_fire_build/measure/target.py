"""Which class a trigger leads to, read from the model's own predictions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.errors import CalibrationError

MIN_GAIN = 0.15
"""The least share of predictions that a trigger must turn to one class, or make wrong."""

SINGLE_TARGET_SHARE = 0.7
"""The least share of all gained predictions that the target gains, or that several targets gain
together. Other classes gain some, too, through mistakes that any model makes."""

MAX_TARGETS = 3
"""The most targets with triggers of their own. If more classes gain predictions, it is an
all-to-all attack."""


@dataclass(frozen=True)
class TargetFinding:
    """The class that a trigger leads to, or the classes.

    Attributes:
        target: the class that gains most predictions.
        single: whether this class gains nearly all gained predictions. It does not for all-to-all
            attacks, nor for several triggers with targets of their own.
        several: the classes that several triggers lead to, the one that gains most first; empty if
            only one class gains, or nearly every class.
    """

    target: int
    single: bool
    several: tuple[int, ...] = ()

    @property
    def targets(self) -> tuple[int, ...]:
        """The classes that the triggers lead to: several, or the one that gains most."""
        return self.several or (self.target,)


@dataclass(frozen=True)
class Predictions:
    """A model's predictions on samples.

    Attributes:
        predicted: the predicted classes, (N,) int64.
        expected: the right classes: the labels, or the predictions on the clean partners, (N,)
            int64; None if unknown.
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
    """Refuse a target that is not a class of the model.

    Raises:
        CalibrationError: it is not; the message says which classes there are.
    """
    if not 0 <= target < classes:
        raise CalibrationError(f"target {target}: the model has the classes 0 to {classes - 1}")


def find_target(clean: Predictions, triggered: Predictions, classes: int) -> TargetFinding | None:
    """Find the target, by comparing the predictions on clean and on triggered samples.

    If the right classes of both are known, only wrong predictions are compared: a model makes
    mistakes on clean samples, too.

    Args:
        clean: predictions on clean samples.
        triggered: predictions on triggered samples.
        classes: number of classes.

    Returns:
        The finding; None if the triggered samples are predicted as clean ones are.
    """
    known = clean.expected is not None and triggered.expected is not None
    change = triggered.shares(classes, wrong_only=known) - clean.shares(classes, wrong_only=known)
    # With few samples, the shares of single classes change by chance. The largest change and the
    # sum of all changes are less affected.
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
