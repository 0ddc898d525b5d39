"""How sure a model is of a class."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOST_ODDS = 20.0
"""Log-odds are clipped to this and its negative; otherwise one input could outweigh many."""


def log_odds(logits: Tensor) -> Tensor:
    """Return ln(p / (1 - p)) of each class, clipped to `MOST_ODDS`, for logits (N, classes).

    Both are float32.
    """
    least = 1 / (1 + math.exp(MOST_ODDS))
    odds: Tensor = torch.logit(logits.double().softmax(1), eps=least)
    return odds.float()
