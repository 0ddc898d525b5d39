"""Opening pictures that are named one by one, in folders, or both."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchserve_fire.errors import InputError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire.model.preprocess import image_to_tensor

from ..common.errors import SamplesError
from .image_folder import EXTENSIONS
from .open_samples import open_samples
from .samples import Samples
from .tensor_samples import TensorSamples


def open_pictures(paths: Sequence[Path], config: HandlerConfig) -> Samples:
    """Open pictures of which nothing is known, not even their classes.

    Args:
        paths: files, and folders whose files count at any depth. For a model of tensors, what
            `open_samples` takes.
        config: what the model takes.

    Returns:
        The pictures, called by their paths. A file that is named twice counts once.

    Raises:
        SamplesError: a path does not exist, or does not hold what the model takes.
    """
    if config.input == "image":
        files = dict.fromkeys(file for path in paths for file in _image_files(path))
        return _ImageFiles(list(files), config.describe_input())
    parts = [open_samples(path, config) for path in dict.fromkeys(paths)]
    first = parts[0].description
    for path, part in zip(dict.fromkeys(paths), parts, strict=True):
        if part.description != first:
            raise SamplesError(
                f"{path}: samples of shape {part.description.shape}, expected {first.shape} as in "
                f"{paths[0]}"
            )
    return TensorSamples(
        torch.cat([part.load(range(len(part))) for part in parts]),
        source=paths[0],
        names=[
            f"{path}:{name}"
            for path, part in zip(dict.fromkeys(paths), parts, strict=True)
            for name in part.names
        ],
        description=first,
    )


def _image_files(path: Path) -> list[Path]:
    """Return a file, whatever it is called, or the images in a folder.

    Raises:
        SamplesError: the folder holds none.
    """
    if not path.is_dir():
        return [path]
    files = sorted(
        file
        for place, _, names in os.walk(path, followlinks=True)
        for file in (Path(place, name) for name in names)
        if file.suffix.lower() in EXTENSIONS and file.is_file()
    )
    if not files:
        raise SamplesError(f"{path}: expected images ({', '.join(EXTENSIONS)}), found none")
    return files


class _ImageFiles(Samples):
    """Image files, decoded by the same code as requests to the server.

    Args:
        files: the files.
        description: what the model takes.
    """

    def __init__(self, files: Sequence[Path], description: InputDescription) -> None:
        super().__init__("pictures", [str(file) for file in files], description)
        self._files = files

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the images at `indices`, (n, C, H, W) float32, normalised.

        Raises:
            SamplesError: a file is not a readable image.
        """
        return torch.stack([self._load_one(self._files[i]) for i in indices])

    def _load_one(self, file: Path) -> Tensor:
        try:
            return image_to_tensor(file.read_bytes(), self.description)
        except (InputError, OSError) as error:
            raise SamplesError(f"{file}: {error}") from None
