"""Images that were recovered from a model, as samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.config import HandlerConfig


class RecoveredImages:
    """Images that nobody has taken: what a model calls its classes.

    They have no labels, since what they show nobody knows but the model.

    Args:
        images: as the model takes them, (N, C, H, W) float32.
        description: what the model takes.
    """

    source = Path("images recovered from the model")
    class_names: Sequence[str] | None = None
    labels: Tensor | None = None

    def __init__(self, images: Tensor, description: InputDescription) -> None:
        self._images = images
        self._description = description
        self.names: Sequence[str] = [str(i) for i in range(len(images))]

    def __len__(self) -> int:
        return len(self._images)

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the images at `indices`, (n, C, H, W) float32."""
        return self._images[list(indices)]

    def describe_input(self, config: HandlerConfig) -> InputDescription:
        """Return what the model takes."""
        return self._description
