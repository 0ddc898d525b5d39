"""Samples from a folder of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchserve_fire.errors import InputError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.preprocess import image_to_tensor

from ..common.errors import SamplesError
from .samples import Samples

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
"""What torchvision's ImageFolder reads, and GIF. The list is copied: importing torchvision takes
two seconds."""


class ImageFolder(Samples):
    """A folder of images, decoded by the same code as requests to the server.

    Args:
        folder: a folder with one subfolder per class, or a flat one.
        description: what the model takes.

    Raises:
        SamplesError: the folder holds no image, or it holds both images and folders of images.
    """

    def __init__(self, folder: Path, description: InputDescription) -> None:
        files = sorted(
            file.relative_to(folder)
            # Links to folders are followed, as by ImageFolder.
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
        super().__init__(
            folder,
            [file.as_posix() for file in files],
            description,
            class_names=None if flat else [file.parts[0] for file in files],
        )
        self._folder = folder

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the images at `indices`, (n, C, H, W) float32, normalised.

        Raises:
            SamplesError: a file is not a readable image.
        """
        return torch.stack([self._load_one(self._folder / self.names[i]) for i in indices])

    def _load_one(self, file: Path) -> Tensor:
        try:
            return image_to_tensor(file.read_bytes(), self.description, kept=True)
        except (InputError, OSError) as error:
            raise SamplesError(f"{file}: {error}") from None
