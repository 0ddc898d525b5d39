"""Fine-tuning on clean images, as BackdoorBench (arXiv 2206.12654) does it, for fewer epochs."""

from __future__ import annotations

import copy

import torch
from torch import nn

from benchmarks.victims.recipe import Schedule
from benchmarks.victims.train import fit_model

from .rival import Defence, Granted, answer_with

SCHEDULE = Schedule(epochs=20, rate=0.01, bfloat16=False)
"""BackdoorBench's learning rate, momentum and weight decay; it runs 100 epochs, of cosine decay."""


def fine_tuning(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Train all of the model on the clean images."""
    tuned = copy.deepcopy(model)
    fit_model(tuned, granted.pool, SCHEDULE, generator, "fine-tuning")
    return answer_with(tuned)
