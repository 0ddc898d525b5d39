"""Samples made of other samples: some of them, or all of them changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from handler.bundle import InputDescription
from handler.config import HandlerConfig

from .samples import Samples


class SomeSamples:
    """Some of other samples.

    Args:
        samples: the others.
        indices: which of them, in this order.
        source: for messages; None for that of the others.
    """

    def __init__(
        self, samples: Samples, indices: Sequence[int], source: Path | None = None
    ) -> None:
        self._samples = samples
        self._indices = list(indices)
        self.source = samples.source if source is None else source
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


class ChangedSamples(SomeSamples):
    """Other samples, each changed when it is read; under the same names, so that they make pairs.

    Args:
        samples: the others.
        change: a function of inputs (n, *input shape) float32 to inputs of the same shape.
        source: for messages.
    """

    def __init__(self, samples: Samples, change: Callable[[Tensor], Tensor], source: Path) -> None:
        super().__init__(samples, range(len(samples)), source)
        self._change = change

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the samples at `indices`, changed, (n, *input shape) float32."""
        return self._change(super().load(indices))
