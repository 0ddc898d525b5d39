"""Turned images: is there an angle at which nearly all of them become one class?

`reconstruct.rotation` says why. A scan tries fewer angles, for all classes at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from ..reconstruct.input_box import InputBox
from ..reconstruct.rotation import turn
from ..reconstruct.subject import Subject
from .free_search import changed_logits

DEGREES: Sequence[int] = (15, 30, 45, 60, 90, 180, -90, -60, -45, -30, -15)
"""Angles that are tried, to the left. Backdoored models know angles near theirs, too."""

INPUTS = 64
"""The most inputs that are turned."""

LEAST_LEFT = 0.7
"""Share of the places that the turned image must cover. If more of a long image is black, a benign
model may call all of them one class, too."""


@dataclass(frozen=True)
class Turned:
    """What turned images are.

    Attributes:
        degrees: the angle.
        target: the class that most of them become which are of another one.
        success: share of the inputs of other classes that become it, from 0 to 1.
    """

    degrees: int
    target: int
    success: float


def turn_images(subject: Subject) -> list[Turned]:
    """Turn clean inputs by each angle that leaves enough of them, and see what they become.

    Args:
        subject: the model, and clean inputs (N, C, H, W).

    Raises:
        CalibrationError: the model has no logits for turned inputs.
    """
    inputs, predicted = subject.inputs[:INPUTS], subject.predicted[:INPUTS]
    found = []
    for degrees in DEGREES:
        if _left(degrees, *inputs.shape[2:]) < LEAST_LEFT:
            continue
        stamp = partial(turn, degrees=degrees, box=subject.box)
        answers = changed_logits(subject, stamp, inputs).argmax(1)
        changed = answers[answers != predicted].bincount(minlength=subject.classes)
        others = (len(inputs) - predicted.bincount(minlength=subject.classes)).clamp(min=1)
        shares = changed.double() / others
        target = int(shares.argmax())
        found.append(Turned(degrees, target, float(shares[target])))
    return found


def _left(degrees: float, height: int, width: int) -> float:
    """Return the share of the places of an image that it covers after a turn."""
    unit = InputBox(torch.zeros(1, 1, 1), torch.ones(1, 1, 1), 0)
    return float(turn(torch.ones(1, 1, height, width), degrees, unit).mean())
