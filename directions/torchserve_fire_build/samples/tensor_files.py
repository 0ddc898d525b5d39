"""Samples from files of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchserve_fire.errors import FireError, first_line
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.format.safetensors_file import parse_safetensors
from torchserve_fire.model.config import HandlerConfig

from ..common.errors import SamplesError

ARRAY_SUFFIXES = (".npz", ".safetensors")


class TensorFileSamples:
    """A file of tensors: `inputs` (N, *S), numbers, and optionally `labels` (N,), integers.

    Args:
        path: `.npz` or `.safetensors`.
        integers: whether the inputs are integers, for models that do not take other numbers.

    Raises:
        SamplesError: the file is damaged, or holds something else.
    """

    class_names: Sequence[str] | None = None

    def __init__(self, path: Path, *, integers: bool = False) -> None:
        self.source = path
        self._dtype = torch.int64 if integers else torch.float32
        arrays = _read_arrays(path)
        unknown = sorted(set(arrays) - {"inputs", "labels"})
        if "inputs" not in arrays or unknown:
            raise SamplesError(
                f"{path}: expected 'inputs' and 'labels', found {', '.join(sorted(arrays))}"
            )
        self._inputs = arrays["inputs"]
        self.labels: Tensor | None = arrays.get("labels")
        if self._inputs.dim() < 2 or self._inputs.numel() == 0:
            raise SamplesError(
                f"{path}: inputs of shape {tuple(self._inputs.shape)}, expected (N, ...) with N > 0"
            )
        if self._inputs.dtype == torch.bool or self._inputs.is_complex():
            raise SamplesError(f"{path}: inputs of {self._inputs.dtype}, expected finite numbers")
        if integers and not _are_integers(self._inputs):
            raise SamplesError(f"{path}: inputs of {self._inputs.dtype}, expected integers")
        if not bool(torch.isfinite(self._inputs.float()).all()):
            raise SamplesError(f"{path}: inputs: expected finite numbers that float32 can hold")
        if self.labels is not None:
            if self.labels.shape != (len(self._inputs),) or not _are_integers(self.labels):
                raise SamplesError(
                    f"{path}: labels: expected {len(self._inputs)} integers, found "
                    f"{self.labels.dtype} of shape {tuple(self.labels.shape)}"
                )
            self.labels = self.labels.long()
        self.names: Sequence[str] = [str(i) for i in range(len(self._inputs))]

    def __len__(self) -> int:
        return len(self._inputs)

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the inputs at `indices`, (n, *S), float32, or int64 where they are integers."""
        return self._inputs[list(indices)].to(self._dtype)

    def describe_input(self, config: HandlerConfig) -> InputDescription:
        """Return the input description with the shape of one row."""
        return config.describe_input(tuple(self._inputs.shape[1:]))


class TensorFolderSamples:
    """A folder of files of tensors, one or more samples in each; their labels are not read.

    Args:
        folder: with `.npz` or `.safetensors` files.
        integers: as of TensorFileSamples.

    Raises:
        SamplesError: there is none, one cannot be read, or their samples differ in shape.
    """

    class_names: Sequence[str] | None = None
    labels: Tensor | None = None

    def __init__(self, folder: Path, *, integers: bool = False) -> None:
        self.source = folder
        files = sorted(file for file in folder.iterdir() if file.suffix in ARRAY_SUFFIXES)
        if not files:
            raise SamplesError(
                f"{folder}: expected a {' or '.join(ARRAY_SUFFIXES)} file or more, found none"
            )
        parts = [TensorFileSamples(file, integers=integers) for file in files]
        self.names: Sequence[str] = [
            f"{file.name}:{name}"
            for file, part in zip(files, parts, strict=True)
            for name in part.names
        ]
        inputs = [part.load(range(len(part))) for part in parts]
        for file, rows in zip(files, inputs, strict=True):
            if rows.shape[1:] != inputs[0].shape[1:]:
                raise SamplesError(
                    f"{file}: samples of shape {tuple(rows.shape[1:])}, expected "
                    f"{tuple(inputs[0].shape[1:])} as in {files[0].name}"
                )
        self._inputs = torch.cat(inputs)

    def __len__(self) -> int:
        return len(self._inputs)

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the inputs at `indices`, (n, *S), float32, or int64 where they are integers."""
        return self._inputs[list(indices)]

    def describe_input(self, config: HandlerConfig) -> InputDescription:
        """Return the input description with the shape of one sample."""
        return config.describe_input(tuple(self._inputs.shape[1:]))


def _are_integers(values: Tensor) -> bool:
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def _read_arrays(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return parse_safetensors(path.read_bytes(), str(path)).tensors
        with np.load(path, allow_pickle=False) as file:
            return {name: _to_tensor(file[name]) for name in file.files}
    except FireError as error:
        raise SamplesError(str(error)) from None
    except Exception as error:  # numpy raises whatever its zip and header readers raise.
        raise SamplesError(
            f"{path}: not a readable .npz file of arrays: {first_line(error)}"
        ) from None


def _to_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    # torch takes this machine's byte order only.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
