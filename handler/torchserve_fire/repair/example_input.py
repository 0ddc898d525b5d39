"""An input to try a model with, as it takes it."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from ..format.bundle import InputDescription
from .layers import device_of


def example_for(model: nn.Module, description: InputDescription) -> Tensor:
    """Return one input of zeros as the model takes it, (1, *shape).

    It is on the model's device. Floating point numbers have the precision of the model's weights,
    which a handler may have halved.
    """
    example = description.example().to(device_of(model))
    tensors = itertools.chain(model.parameters(), model.buffers())
    dtypes = (tensor.dtype for tensor in tensors if tensor.is_floating_point())
    return example.to(next(dtypes, example.dtype)) if example.is_floating_point() else example
