"""Samples that are files of images."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from torchserve_fire.errors import InputError
from torchserve_fire.model.preprocess import image_to_tensor

from ..common.errors import SamplesError
from .file_samples import FileSamples


class ImageFolder(FileSamples):
    """Images of a folder or a list, decoded by the same code as requests to the server.

    Each is (C, H, W) float32, normalised.
    """

    def _read(self, file: Path) -> Tensor:
        try:
            return image_to_tensor(file.read_bytes(), self.description, kept=True)
        except (InputError, OSError) as error:
            raise SamplesError(f"{file}: {error}") from None
