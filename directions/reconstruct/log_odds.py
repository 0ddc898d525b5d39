"""How sure a model is of a class."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_ODDS = 20.0
"""Log-odds at most, and their negative at least: beyond, one input would outweigh many."""


def log_odds(logits: Tensor) -> Tensor:
    """Return ln(p / (1 - p)) of each class, float32, within `MOST_ODDS`, of logits (N, classes)."""
    chance = logits.double().log_softmax(1)
    # Where a class is certain to the last digit, as if it were not quite.
    other = torch.log(-torch.expm1(chance).clamp(max=-1e-12))
    return (chance - other).clamp(-MOST_ODDS, MOST_ODDS).float()
