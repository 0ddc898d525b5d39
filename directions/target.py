"""Which class a trigger leads to, read from the model's own predictions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_GAIN = 0.15
"""Share of predictions that a trigger must change at least."""

SINGLE_TARGET_SHARE = 0.7
"""Of the predictions that are gained; some are gained by the mistakes that any model makes."""


@dataclass(frozen=True)
class TargetFinding:
    """Where a trigger leads.

    Attributes:
        target: the class that gains most predictions.
        single: whether it gains nearly all that are gained; not so for all-to-all attacks or
            several triggers with targets of their own.
    """

    target: int
    single: bool


def find_target(
    clean: Tensor, triggered: Tensor, classes: int, expected: Tensor | None = None
) -> TargetFinding | None:
    """Compare the predictions on clean and on triggered samples.

    Args:
        clean: predicted classes of clean samples, (N,) int64.
        triggered: predicted classes of triggered samples, (M,) int64.
        classes: number of classes.
        expected: what the triggered samples would be predicted as without their trigger, (M,)
            int64, where that is known: the predictions on their clean partners, or their labels.

    Returns:
        None where the triggered samples are predicted as clean ones are.
    """
    if expected is None:
        shares = torch.bincount(triggered, minlength=classes).double() / len(triggered)
        gained = shares - torch.bincount(clean, minlength=classes).double() / len(clean)
        gained = gained.clamp(min=0)
    else:
        changed = triggered[triggered != expected]
        gained = torch.bincount(changed, minlength=classes).double() / len(triggered)
    if float(gained.sum()) < MIN_GAIN:
        return None
    single = gained.max() >= SINGLE_TARGET_SHARE * gained.sum()
    return TargetFinding(int(gained.argmax()), bool(single))
