"""Samples that are files of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchserve_fire.errors import InputError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.preprocess import image_to_tensor
from torchserve_fire.model.request_body import RequestBody

from ..common.errors import SamplesError
from .sample_files import SampleFiles, read_body_file
from .samples import Samples


class ImageFolder(Samples):
    """Images of a folder or a list, decoded by the same code as requests to the server.

    Args:
        files: where they lie.
        description: what the model takes.
    """

    def __init__(self, files: SampleFiles, description: InputDescription) -> None:
        super().__init__(
            files.source,
            files.names,
            description,
            class_names=files.class_names,
            labels=files.labels,
        )
        self._paths = files.paths

    def body(self, index: int) -> RequestBody:
        """Return the body of a request with a sample: its file.

        Raises:
            SamplesError: the file cannot be read.
        """
        return read_body_file(self._paths[index])

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the images at `indices`, (n, C, H, W) float32, normalised.

        Raises:
            SamplesError: a file is not a readable image.
        """
        return torch.stack([self._load_one(self._paths[i]) for i in indices])

    def _load_one(self, file: Path) -> Tensor:
        try:
            return image_to_tensor(file.read_bytes(), self.description, kept=True)
        except (InputError, OSError) as error:
            raise SamplesError(f"{file}: {error}") from None
