"""A model of the same architecture, trained anew on the clean samples alone."""

from __future__ import annotations

import torch
from torch import nn

from ..sanitize.defaults import RATE, RETRAINING_EPOCHS
from ..sanitize.retraining import build_anew, retrain
from ..sanitize.training import Schedule
from .rival import Defence, Granted, RivalNotApplicable, answer_with

SCHEDULE = Schedule(RETRAINING_EPOCHS, RATE)


def retraining(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Train the model's architecture on the clean samples, from first weights.

    Raises:
        RivalNotApplicable: nothing builds the model with first weights.
        SanitizeError: what builds it brings the old weights.
    """
    if granted.fresh is None:
        raise RivalNotApplicable(f"{type(model).__name__}: nothing builds it with first weights")
    fresh = build_anew(granted.fresh, model, generator)
    return answer_with(retrain(fresh, granted.pool, SCHEDULE, generator, augment=granted.augment))
