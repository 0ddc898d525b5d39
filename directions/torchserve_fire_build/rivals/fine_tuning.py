"""Fine-tuning on clean images, as BackdoorBench (arXiv 2206.12654) does it, for fewer epochs."""

from __future__ import annotations

import torch
from torch import nn

from ..sanitize.fine_tuning import fine_tune
from ..sanitize.training import Schedule
from .rival import Defence, Granted, answer_with

SCHEDULE = Schedule(epochs=20, rate=0.01)
"""BackdoorBench's learning rate, momentum and weight decay; it runs 100 epochs, of cosine decay."""


def fine_tuning(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Train all of the model on the clean samples."""
    tuned = fine_tune(model, granted.pool, SCHEDULE, generator, augment=granted.augment)
    return answer_with(tuned)
