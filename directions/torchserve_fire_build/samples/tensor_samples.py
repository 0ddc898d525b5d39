"""Samples in memory: from a tensor, an array, a dataset or a DataLoader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from torchserve_fire.format.bundle import InputDescription

from ..common.errors import SamplesError
from .samples import Samples

Inputs = Tensor | np.ndarray[Any, Any] | Dataset[Any] | DataLoader[Any]


class TensorSamples(Samples):
    """Samples in memory.

    Args:
        inputs: (N, *S) finite numbers, as the model takes them; or a dataset or DataLoader that
            yields such inputs, alone or each with its label; or other samples. Integers stay
            integers.
        labels: (N,) class indices; None if they are unknown, or if the dataset yields them.
        source: where the samples come from, for messages.
        names: a name for each sample; None to number them.
        description: what the model takes; None to derive it from the inputs.

    Raises:
        SamplesError: inputs or labels have another form.

    Example:
        >>> TensorSamples(torch.zeros(2, 3, 32, 32), torch.tensor([0, 1]))
        <TensorSamples: 2 of 3 x 32 x 32 from tensors>
    """

    def __init__(
        self,
        inputs: Inputs,
        labels: Tensor | np.ndarray[Any, Any] | Sequence[int] | None = None,
        *,
        source: Path | str = "tensors",
        names: Sequence[str] | None = None,
        description: InputDescription | None = None,
    ) -> None:
        if isinstance(inputs, Samples):
            labels = inputs.labels if labels is None else labels
            inputs = inputs.load(range(len(inputs)))
        if isinstance(inputs, (Dataset, DataLoader)):
            inputs, yielded = _read_all(inputs, source)
            labels = yielded if labels is None else labels
        rows = _finite_numbers(torch.as_tensor(inputs), source)
        if description is None:
            kind = "tensor" if rows.is_floating_point() else "integers"
            description = InputDescription(kind, tuple(rows.shape[1:]))
        self._inputs = rows.to(description.dtype)
        super().__init__(
            source,
            [str(i) for i in range(len(rows))] if names is None else names,
            description,
            labels=None if labels is None else _class_indices(labels, len(rows), source),
        )
        self.numbered = names is None

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the samples at `indices`, (n, *S), float32, or int64 if they are integers."""
        return self._inputs[list(indices)]


def empty_samples(description: InputDescription) -> TensorSamples:
    """Return an empty set of samples, for methods that need none."""
    none = torch.empty(0, *description.shape)
    return TensorSamples(none, source="no samples", description=description)


def _read_all(
    dataset: Dataset[Any] | DataLoader[Any], source: Path | str
) -> tuple[Tensor, Tensor | None]:
    """Return all that a dataset yields: inputs (N, *S), and labels (N,) or None."""
    loader = dataset if isinstance(dataset, DataLoader) else DataLoader(dataset, batch_size=64)
    inputs, labels = [], []
    for batch in loader:
        part, *rest = batch if isinstance(batch, (tuple, list)) else (batch,)
        if not isinstance(part, Tensor) or len(rest) > 1:
            raise SamplesError(
                f"{source}: the dataset yields {type(batch).__name__}, expected tensors, alone or "
                "each with its label"
            )
        inputs.append(part)
        labels += rest
    if not inputs:
        raise SamplesError(f"{source}: the dataset is empty, expected samples")
    return torch.cat(inputs), torch.cat(labels) if labels else None


def _finite_numbers(inputs: Tensor, source: Path | str) -> Tensor:
    if inputs.dim() < 2:
        raise SamplesError(f"{source}: inputs of shape {tuple(inputs.shape)}, expected (N, ...)")
    if inputs.dtype == torch.bool or inputs.is_complex():
        raise SamplesError(f"{source}: inputs of {inputs.dtype}, expected finite numbers")
    if not bool(torch.isfinite(inputs.float()).all()):
        raise SamplesError(f"{source}: inputs: expected finite numbers that float32 can hold")
    return inputs.detach().cpu()


def _class_indices(
    labels: Tensor | np.ndarray[Any, Any] | Sequence[int], count: int, source: Path | str
) -> Tensor:
    indices = torch.as_tensor(labels)
    if indices.shape != (count,) or not are_integers(indices):
        raise SamplesError(
            f"{source}: labels: expected {count} integers, found {indices.dtype} of shape "
            f"{tuple(indices.shape)}"
        )
    return indices.long().cpu()


def are_integers(values: Tensor) -> bool:
    """Return whether a tensor's dtype is integral: not float, complex or bool."""
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)
