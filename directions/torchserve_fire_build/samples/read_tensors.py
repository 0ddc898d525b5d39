"""Samples from files of tensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchserve_fire.errors import FireError, first_line
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.format.safetensors_file import parse_safetensors

from ..common.errors import SamplesError
from .tensor_samples import TensorSamples, are_integers

ARRAY_SUFFIXES = (".npz", ".safetensors")
NAMES_EXPECTED = "expected a text for each input, each another one"


def read_tensors(path: Path, *, integers: bool = False) -> TensorSamples:
    """Read a file of tensors: `inputs` (N, *S), numbers, and optionally `labels` (N,), integers.

    Samples of the same name in two files are pairs. Names, (N,) texts, are the array `names` of a
    `.npz` file; a `.safetensors` file holds no texts, so they are a JSON list under `names` in its
    metadata.

    Args:
        path: `.npz` or `.safetensors`.
        integers: whether the model takes only integers.

    Raises:
        SamplesError: the file is damaged, or does not hold such tensors.
    """
    arrays, names = _read_arrays(path)
    unknown = sorted(set(arrays) - {"inputs", "labels"})
    if "inputs" not in arrays or unknown:
        raise SamplesError(
            f"{path}: expected 'inputs' and 'labels', found {', '.join(sorted(arrays))}"
        )
    inputs = arrays["inputs"]
    if inputs.dim() < 2 or inputs.numel() == 0:
        raise SamplesError(
            f"{path}: inputs of shape {tuple(inputs.shape)}, expected (N, ...) with N > 0"
        )
    if integers and not are_integers(inputs):
        raise SamplesError(f"{path}: inputs of {inputs.dtype}, expected integers")
    kind = "integers" if integers else "tensor"
    if names is not None:
        _check_names(names, len(inputs), path)
    description = InputDescription(kind, tuple(inputs.shape[1:]))
    return TensorSamples(
        inputs, arrays.get("labels"), source=path, names=names, description=description
    )


def read_tensor_folder(folder: Path, *, integers: bool = False) -> TensorSamples:
    """Read a folder of files of tensors, one or more samples in each; labels are not read.

    Args:
        folder: a folder of `.npz` or `.safetensors` files.
        integers: as in `read_tensors`.

    Raises:
        SamplesError: there is no such file, a file cannot be read, or samples differ in shape.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix in ARRAY_SUFFIXES)
    if not files:
        raise SamplesError(
            f"{folder}: expected a {' or '.join(ARRAY_SUFFIXES)} file in it, found none"
        )
    parts = [read_tensors(file, integers=integers) for file in files]
    first = parts[0].description
    for file, part in zip(files, parts, strict=True):
        if part.description != first:
            raise SamplesError(
                f"{file}: samples of shape {part.description.shape}, expected {first.shape} as in "
                f"{files[0].name}"
            )
    return TensorSamples(
        torch.cat([part.load(range(len(part))) for part in parts]),
        source=folder,
        names=[
            f"{file.name}:{name}"
            for file, part in zip(files, parts, strict=True)
            for name in part.names
        ],
        description=first,
    )


def _read_arrays(path: Path) -> tuple[dict[str, Tensor], list[str] | None]:
    """Return the tensors of a file, and the names of its samples, if it has some."""
    try:
        if path.suffix == ".safetensors":
            file = parse_safetensors(path.read_bytes(), str(path))
            return file.tensors, _names_in_json(file.metadata.get("names"), path)
        with np.load(path, allow_pickle=False) as arrays:
            read = {name: arrays[name] for name in arrays.files}
        names = read.pop("names", None)
        if names is not None and (names.dtype.kind != "U" or names.ndim != 1):
            raise SamplesError(f"{path}: names: {names.dtype}, {NAMES_EXPECTED}")
        return {name: _to_tensor(array) for name, array in read.items()}, (
            None if names is None else names.tolist()
        )
    except FireError as error:
        raise SamplesError(str(error)) from None
    except Exception as error:  # numpy raises whatever its zip and header readers raise.
        raise SamplesError(
            f"{path}: not a readable .npz file of arrays: {first_line(error)}"
        ) from None


def _names_in_json(text: str | None, path: Path) -> list[str] | None:
    if text is None:
        return None
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SamplesError(f"{path}: names in its metadata: {NAMES_EXPECTED}, as a JSON list")
    return names


def _check_names(names: Sequence[str], count: int, path: Path) -> None:
    if len(names) != count:
        raise SamplesError(f"{path}: {len(names)} names of {count} inputs, {NAMES_EXPECTED}")
    if len(set(names)) < count:
        again = next(name for i, name in enumerate(names) if name in names[:i])
        raise SamplesError(f"{path}: names: {again!r:.60} stands there twice, {NAMES_EXPECTED}")


def _to_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    # torch accepts only this machine's byte order.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
