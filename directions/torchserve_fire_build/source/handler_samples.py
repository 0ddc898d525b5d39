"""Samples from files that an archive's own handler prepares, as it prepares requests."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import InputDescription

from ..common.errors import SamplesError
from ..samples.samples import Samples

Prepare = Callable[[bytes, str], Tensor]
"""From the body of a request, and the name of its file, to a sample."""


class HandlerSamples(Samples):
    """Bodies of requests in a folder, prepared by a handler.

    Args:
        folder: a folder with one subfolder per class, or a flat one.
        prepare: by the handler.
        description: what the model takes.

    Raises:
        SamplesError: the folder holds no file, or both files and folders of files.
    """

    def __init__(self, folder: Path, prepare: Prepare, description: InputDescription) -> None:
        files = files_in(folder)
        flat = len(files[0].parts) == 1
        super().__init__(
            folder,
            [file.as_posix() for file in files],
            description,
            class_names=None if flat else [file.parts[0] for file in files],
        )
        self._folder = folder
        self._prepare = prepare

    def body(self, index: int) -> bytes:
        """Return the body of a request with a sample.

        Raises:
            SamplesError: the file cannot be read.
        """
        file = self._folder / self.names[index]
        try:
            return file.read_bytes()
        except OSError as error:
            raise SamplesError(f"{file}: {error.strerror}") from None

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the samples at `indices`, (n, *input shape), as the handler prepares them.

        Raises:
            SamplesError: the handler fails on a file, or makes something else of it.
        """
        return torch.stack([self._load_one(i) for i in indices])

    def _load_one(self, index: int) -> Tensor:
        file = self._folder / self.names[index]
        try:
            sample = self._prepare(self.body(index), self.names[index])
        except SamplesError:
            raise
        except FireError as error:
            raise SamplesError(f"{file}: {error}") from None
        expected = self.description.shape
        if tuple(sample.shape) != expected:
            raise SamplesError(
                f"{file}: the handler makes a sample of shape {tuple(sample.shape)} of it, "
                f"expected {expected} as of the others"
            )
        return sample.to(self.description.dtype)


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders but for hidden ones, relative to it, sorted.

    Raises:
        SamplesError: there is none, or files lie beside folders of files.
    """
    found = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            (Path(place) / name).relative_to(folder) for name in names if not name.startswith(".")
        ]
    if not found:
        raise SamplesError(f"{folder}: expected files with the bodies of requests, found none")
    files = sorted(found)
    flat = [file for file in files if len(file.parts) == 1]
    if flat and len(flat) < len(files):
        deep = next(file for file in files if len(file.parts) > 1)
        raise SamplesError(
            f"{folder}: expected files in one subfolder per class, or all in the folder itself; "
            f"found both, {flat[0]} and {deep}"
        )
    return files
