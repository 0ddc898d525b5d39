"""An input to try a model with, as it takes it."""

from __future__ import annotations

from torch import Tensor, nn

from ..format.bundle import InputDescription
from .layers import device_of, in_precision_of


def example_for(model: nn.Module, description: InputDescription) -> Tensor:
    """Return one input of zeros as the model takes it, (1, *shape).

    It is on the model's device, and has the precision of the model's weights.
    """
    return in_precision_of(model, description.example().to(device_of(model)))
