"""Samples of which there are none: for methods that do without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.config import HandlerConfig


class EmptySamples:
    """No samples, of which the shape is known all the same.

    Args:
        description: what the model takes.
    """

    source = Path("no samples")
    class_names: Sequence[str] | None = None
    labels: Tensor | None = None

    def __init__(self, description: InputDescription) -> None:
        self._description = description
        self.names: Sequence[str] = []

    def __len__(self) -> int:
        return 0

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return an empty batch, (0, *input shape) float32."""
        return torch.empty(0, *self._description.shape)

    def describe_input(self, config: HandlerConfig) -> InputDescription:
        """Return what the model takes."""
        return self._description
