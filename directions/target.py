"""Which class a trigger leads to, read from the model's own predictions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_EXCESS = 0.15
SINGLE_TARGET_SHARE = 0.8


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


def find_target(clean: Tensor, triggered: Tensor, classes: int) -> TargetFinding | None:
    """Compare the predictions on clean and on triggered samples.

    Args:
        clean: predicted classes of clean samples, (N,) int64: the partners of the triggered ones
            where there are pairs.
        triggered: predicted classes of triggered samples, (M,) int64.
        classes: number of classes.

    Returns:
        None where the triggered samples are predicted as the clean ones are.
    """
    shares = [torch.bincount(p, minlength=classes).float() / len(p) for p in (clean, triggered)]
    excess = (shares[1] - shares[0]).clamp(min=0)
    if float(excess.max()) < MIN_EXCESS:
        return None
    return TargetFinding(
        int(excess.argmax()), bool(excess.max() >= SINGLE_TARGET_SHARE * excess.sum())
    )
