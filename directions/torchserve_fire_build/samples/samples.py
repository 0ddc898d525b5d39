"""Samples to calibrate or evaluate with: a folder of images, or files of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.config import HandlerConfig

from ..common.errors import SamplesError
from .image_folder import ImageFolderSamples
from .tensor_files import ARRAY_SUFFIXES, TensorFileSamples, TensorFolderSamples


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
        """Return the samples at `indices`, (len(indices), *input shape).

        float32, or int64 where the model takes integers.
        """
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
        return TensorFolderSamples(path, integers=config.input == "integers")
    if not path.is_file() or path.suffix not in ARRAY_SUFFIXES:
        raise SamplesError(
            f"{path}: expected a {' or '.join(ARRAY_SUFFIXES)} file with 'inputs' and 'labels' "
            f"(handler: input: {config.input})"
        )
    return TensorFileSamples(path, integers=config.input == "integers")


def iterate(
    samples: Samples, indices: Sequence[int], batch_size: int = 64
) -> Iterator[tuple[Sequence[int], Tensor]]:
    """Yield the samples at `indices` in batches, as (their indices, (n, *input shape))."""
    for start in range(0, len(indices), batch_size):
        part = indices[start : start + batch_size]
        yield part, samples.load(part)
