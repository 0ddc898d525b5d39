"""Samples that lie in files, one in each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.request_body import RequestBody

from .sample_files import SampleFiles, read_body_file
from .samples import Samples


class FileSamples(Samples):
    """Samples that lie in files, one in each; a subclass reads one.

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
        self.paths: Sequence[Path] = files.paths

    def body(self, index: int) -> RequestBody:
        """Return the body of a request with a sample: its file.

        Raises:
            SamplesError: the file cannot be read.
        """
        return read_body_file(self.paths[index])

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the samples at `indices`, (n, *input shape).

        Raises:
            SamplesError: a file cannot be read, or is no sample.
        """
        return torch.stack([self._read(self.paths[i]) for i in indices])

    @abstractmethod
    def _read(self, file: Path) -> Tensor:
        """Return the sample in a file, (*input shape).

        Raises:
            SamplesError: it cannot be read, or is no sample.
        """
