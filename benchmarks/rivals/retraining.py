"""A model of the same architecture, trained anew on the clean images alone."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from benchmarks.samples import labelled
from benchmarks.victims.architectures import ARCHITECTURES
from benchmarks.victims.train import augment_normalised
from torchserve_fire_build.sanitize.defaults import RATE, RETRAINING_EPOCHS
from torchserve_fire_build.sanitize.retraining import build_anew, retrain
from torchserve_fire_build.sanitize.training import Schedule

from .rival import Defence, Granted, RivalNotApplicable, answer_with

SCHEDULE = Schedule(RETRAINING_EPOCHS, RATE)


def retraining(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Train the model's architecture from first weights, on images cropped and flipped at random.

    Raises:
        RivalNotApplicable: the model is of no architecture that victims have.
    """
    fresh = _build_alike(model, granted.classes, generator)
    pool = labelled(granted.pool)
    return answer_with(retrain(fresh, pool, SCHEDULE, generator, augment=augment_normalised))


def _build_alike(model: nn.Module, classes: int, generator: torch.Generator) -> nn.Module:
    """Return a model of the same weights' names and shapes, with first weights."""
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    for architecture in ARCHITECTURES.values():
        # Without drawing any weights.
        with torch.device("meta"):
            alike = architecture(classes).state_dict()
        if {name: value.shape for name, value in alike.items()} == shapes:
            return build_anew(partial(architecture, classes), model, generator)
    raise RivalNotApplicable(f"{type(model).__name__}: no architecture that victims are built of")
