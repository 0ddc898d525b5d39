"""Fine-tuning on clean images, as BackdoorBench (arXiv 2206.12654) does it, for fewer epochs."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.samples import labelled
from benchmarks.victims.train import augment_normalised
from torchserve_fire_build.sanitize.fine_tuning import fine_tune
from torchserve_fire_build.sanitize.training import Schedule

from .rival import Defence, Granted, answer_with

SCHEDULE = Schedule(epochs=20, rate=0.01)
"""BackdoorBench's learning rate, momentum and weight decay; it runs 100 epochs, of cosine decay."""


def fine_tuning(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Train all of the model on the clean images, cropped and flipped at random."""
    pool = labelled(granted.pool)
    return answer_with(fine_tune(model, pool, SCHEDULE, generator, augment=augment_normalised))
