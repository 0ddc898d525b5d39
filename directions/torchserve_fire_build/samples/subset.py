"""Some of other samples, as samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.config import HandlerConfig

from .samples import Samples


class Subset:
    """Some of other samples.

    Args:
        samples: the others.
        indices: which of them, in this order.
    """

    def __init__(self, samples: Samples, indices: Sequence[int]) -> None:
        self._samples = samples
        self._indices = list(indices)
        self.source = samples.source
        self.names: Sequence[str] = [samples.names[i] for i in self._indices]
        classes, labels = samples.class_names, samples.labels
        self.class_names: Sequence[str] | None = (
            None if classes is None else [classes[i] for i in self._indices]
        )
        self.labels: Tensor | None = (
            None if labels is None else labels[torch.tensor(self._indices, dtype=torch.int64)]
        )

    def __len__(self) -> int:
        return len(self._indices)

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the samples at `indices` of these, (n, *input shape) float32."""
        return self._samples.load([self._indices[i] for i in indices])

    def describe_input(self, config: HandlerConfig) -> InputDescription:
        """Return what a model that takes these samples takes."""
        return self._samples.describe_input(config)
