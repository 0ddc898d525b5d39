"""The late layer whose features a search uses."""

from __future__ import annotations

from contextlib import suppress

import torch

from ..common.errors import CalibrationError
from ..estimate.candidate_layers import candidate_layers
from .subject import Subject

EXAMPLES = 8
"""Number of inputs that are tried as the example to find the layers with."""


def late_layer(subject: Subject) -> str:
    """Return the last layer that all information passes through.

    Raises:
        CalibrationError: the model has none.
    """
    *others, last = torch.split(subject.inputs[:EXAMPLES], 1)
    # A model with corrections runs flagged inputs twice. With such an input, no layer is found.
    for example in others:
        with suppress(CalibrationError):
            return candidate_layers(subject.model, example)[-1]
    return candidate_layers(subject.model, last)[-1]
