"""How sure a model is of a class."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOST_ODDS = 20.0
"""Log-odds at most, and their negative at least: beyond, one input would outweigh many."""


def log_odds(logits: Tensor) -> Tensor:
    """Return ln(p / (1 - p)) of each class, float32, within `MOST_ODDS`, of logits (N, classes)."""
    least = 1 / (1 + math.exp(MOST_ODDS))
    odds: Tensor = torch.logit(logits.double().softmax(1), eps=least)
    return odds.float()
