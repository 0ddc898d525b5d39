"""The values that inputs may have: a search must stay within what a request can carry."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchserve_fire.format.bundle import InputDescription

LEVELS = 255
"""Steps between black and white in the images that a server receives."""

LEAST_WIDTH = 1e-6
"""The least width of a channel; for values above 1, as a share of the values, since float32
distinguishes nothing smaller."""


@dataclass(frozen=True)
class InputBox:
    """The lowest and the highest value of each channel.

    Attributes:
        low: (C, 1, ...), or (1, ...) for inputs of one dimension; float32.
        high: likewise, above `low`.
        levels: number of steps between low and high; 0 if every value between is possible.
    """

    low: Tensor
    high: Tensor
    levels: int

    @property
    def width(self) -> Tensor:
        """High minus low."""
        return self.high - self.low

    def clamp(self, inputs: Tensor) -> Tensor:
        """Return inputs (N, *S), each value moved into the box."""
        return torch.maximum(torch.minimum(inputs, self.high), self.low)

    def legal(self, inputs: Tensor) -> Tensor:
        """Return inputs (N, *S) as a request could carry them: in the box, and on a level."""
        inputs = self.clamp(inputs)
        if not self.levels:
            return inputs
        unit = (inputs - self.low) / self.width
        return self.low + (unit * self.levels).round() / self.levels * self.width


def input_box(description: InputDescription, inputs: Tensor) -> InputBox:
    """Return the box of what a model takes, on the device of the inputs.

    Args:
        description: the model's input. Images have values from 0 to 255 before normalisation.
        inputs: clean inputs, (N, *S). For tensors, the box is the range of these values.
    """
    if description.kind == "image":
        mean, std = (
            torch.tensor(values).view(-1, 1, 1).to(inputs.device)
            for values in (description.mean, description.std)
        )
        return InputBox((0 - mean) / std, (1 - mean) / std, LEVELS)
    channels = inputs.transpose(0, 1).flatten(1) if inputs.dim() > 2 else inputs.flatten()[None]
    shape = (-1, *[1] * (inputs.dim() - 2))
    low, high = channels.amin(1).view(shape), channels.amax(1).view(shape)
    # A channel that never varies would leave nothing to divide by.
    least = LEAST_WIDTH * low.abs().clamp(min=1)
    return InputBox(low, torch.maximum(high, low + least), 0)
