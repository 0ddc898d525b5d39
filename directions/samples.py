"""Samples to calibrate or evaluate with: a folder of images, or files of tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from handler.bundle import InputDescription
from handler.config import HandlerConfig
from handler.errors import FireError, InputError
from handler.preprocess import image_to_tensor
from handler.safetensors_file import parse_safetensors

from .errors import SamplesError

EXTENSIONS = (*IMG_EXTENSIONS, ".gif")
ARRAY_SUFFIXES = (".npz", ".safetensors")


class Samples(Protocol):
    """Some samples, read when they are asked for.

    Attributes:
        source: the folder or file, for messages.
        names: one for each sample: its path below the folder, or its row in the file.
        class_names: the class of each sample as its folder is called, or None without classes.
        labels: int64 (N,), where the file itself holds class indices; else None.
    """

    source: Path
    names: Sequence[str]
    class_names: Sequence[str] | None
    labels: Tensor | None

    def __len__(self) -> int: ...

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the samples at `indices`, (len(indices), *input shape), float32."""
        ...

    def describe_input(self, config: HandlerConfig) -> InputDescription:
        """Return what a model that takes these samples takes."""
        ...


def open_samples(path: Path | str, config: HandlerConfig) -> Samples:
    """Open a folder of images, or a `.npz` or `.safetensors` file of tensors.

    Args:
        path: a folder with one subfolder per class (torchvision's ImageFolder convention), a flat
            folder, or a file with `inputs`, (N, *S) numbers, and optionally `labels`, (N,)
            integers; of tensors also a folder of such files, as a quarantine is.
        config: says which of the two the model takes.

    Raises:
        SamplesError: nothing is there, or it is not what the configuration asks for.
    """
    path = Path(path)
    if config.input == "image":
        if not path.is_dir():
            found = "a file" if path.exists() else "no such folder"
            raise SamplesError(
                f"{path}: {found}, expected a folder of images (handler: input: image)"
            )
        return ImageFolderSamples(path, config.describe_input())
    if path.is_dir():
        return TensorFolderSamples(path)
    if not path.is_file() or path.suffix not in ARRAY_SUFFIXES:
        raise SamplesError(
            f"{path}: expected a {' or '.join(ARRAY_SUFFIXES)} file with 'inputs' and 'labels' "
            "(handler: input: tensor)"
        )
    return TensorFileSamples(path)


def iterate(
    samples: Samples, indices: Sequence[int], batch_size: int = 64
) -> Iterator[tuple[Sequence[int], Tensor]]:
    """Yield the samples at `indices` in batches, as (their indices, (n, *input shape))."""
    for start in range(0, len(indices), batch_size):
        part = indices[start : start + batch_size]
        yield part, samples.load(part)


class ImageFolderSamples:
    """A folder of images, decoded by the code that the server decodes requests with.

    Args:
        folder: with one subfolder per class, or flat.
        description: what the model takes.

    Raises:
        SamplesError: the folder holds no image, or images beside folders of images.
    """

    labels: Tensor | None = None

    def __init__(self, folder: Path, description: InputDescription) -> None:
        self.source = folder
        self._description = description
        files = sorted(
            file.relative_to(folder)
            # Through links to folders too, as ImageFolder goes.
            for place, _, names in os.walk(folder, followlinks=True)
            for file in (Path(place, name) for name in names)
            if file.suffix.lower() in EXTENSIONS and file.is_file()
        )
        if not files:
            raise SamplesError(f"{folder}: expected images ({', '.join(EXTENSIONS)}), found none")
        flat = [file for file in files if len(file.parts) == 1]
        if flat and len(flat) < len(files):
            deep = next(file for file in files if len(file.parts) > 1)
            raise SamplesError(
                f"{folder}: expected images in one subfolder per class, or all in the folder "
                f"itself; found both, {flat[0]} and {deep}"
            )
        self.names: Sequence[str] = [file.as_posix() for file in files]
        self.class_names: Sequence[str] | None = None if flat else [file.parts[0] for file in files]

    def __len__(self) -> int:
        return len(self.names)

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the images at `indices`, (n, C, H, W) float32, normalised.

        Raises:
            SamplesError: a file is not a readable image.
        """
        return torch.stack([self._load_one(self.source / self.names[i]) for i in indices])

    def _load_one(self, file: Path) -> Tensor:
        try:
            return image_to_tensor(file.read_bytes(), self._description)
        except (InputError, OSError) as error:
            raise SamplesError(f"{file}: {error}") from None

    def describe_input(self, config: HandlerConfig) -> InputDescription:
        """Return the input description that the images are decoded for."""
        return self._description


class TensorFileSamples:
    """A file of tensors: `inputs` (N, *S), numbers, and optionally `labels` (N,), integers.

    Args:
        path: `.npz` or `.safetensors`.

    Raises:
        SamplesError: the file is damaged, or holds something else.
    """

    class_names: Sequence[str] | None = None

    def __init__(self, path: Path) -> None:
        self.source = path
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
        """Return the inputs at `indices`, (n, *S), float32."""
        return self._inputs[list(indices)].float()

    def describe_input(self, config: HandlerConfig) -> InputDescription:
        """Return the input description with the shape of one row."""
        return config.describe_input(tuple(self._inputs.shape[1:]))


class TensorFolderSamples:
    """A folder of files of tensors, one or more samples in each; their labels are not read.

    Args:
        folder: with `.npz` or `.safetensors` files.

    Raises:
        SamplesError: there is none, one cannot be read, or their samples differ in shape.
    """

    class_names: Sequence[str] | None = None
    labels: Tensor | None = None

    def __init__(self, folder: Path) -> None:
        self.source = folder
        files = sorted(file for file in folder.iterdir() if file.suffix in ARRAY_SUFFIXES)
        if not files:
            raise SamplesError(
                f"{folder}: expected a {' or '.join(ARRAY_SUFFIXES)} file or more, found none"
            )
        parts = [TensorFileSamples(file) for file in files]
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
        """Return the inputs at `indices`, (n, *S), float32."""
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
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SamplesError(f"{path}: not a readable .npz file of arrays: {reason}") from None


def _to_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    # torch takes this machine's byte order only.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
