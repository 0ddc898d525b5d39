"""The layer at which a search looks at what a model makes of an input."""

from __future__ import annotations

from contextlib import suppress

import torch

from torchserve_fire.repair.layers import device_of

from ..common.errors import CalibrationError
from ..estimate.candidate_layers import candidate_layers
from .subject import Subject

EXAMPLES = 8
"""Inputs by which the layers are looked for."""


def late_layer(subject: Subject) -> str:
    """Return the last layer that all information passes through.

    Raises:
        CalibrationError: the model has none.
    """
    *others, last = torch.split(subject.inputs[:EXAMPLES].to(device_of(subject.model)), 1)
    # A model with corrections runs what they flag twice, and an input that is shows no layer.
    for example in others:
        with suppress(CalibrationError):
            return candidate_layers(subject.model, example)[-1]
    return candidate_layers(subject.model, last)[-1]
