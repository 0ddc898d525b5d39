"""Samples from files that an archive's own handler prepares, as it prepares requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.kept_input import holds_kept_input
from torchserve_fire.model.preprocess import image_to_tensor

from ..common.errors import SamplesError
from ..samples.file_samples import FileSamples
from ..samples.sample_files import SampleFiles

Prepare = Callable[[bytes, str], Tensor]
"""From the body of a request, and the name of its file, to a sample."""


class HandlerSamples(FileSamples):
    """Bodies of requests in files, prepared by a handler.

    Args:
        files: where they lie.
        prepare: by the handler.
        description: what the model takes.
    """

    def __init__(self, files: SampleFiles, prepare: Prepare, description: InputDescription) -> None:
        super().__init__(files, description)
        self._prepare = prepare

    def _read(self, file: Path) -> Tensor:
        sample = prepare_file(file, self._prepare_sent)
        expected = self.description.shape
        if tuple(sample.shape) != expected:
            raise SamplesError(
                f"{file}: the handler makes a sample of shape {tuple(sample.shape)} of it, "
                f"expected {expected} as of the others"
            )
        return sample.to(self.description.dtype)

    def _prepare_sent(self, body: bytes, name: str) -> Tensor:
        """Have the handler prepare what was sent; what a quarantine kept is prepared already."""
        if self.description.kind == "image" and holds_kept_input(body):
            return image_to_tensor(body, self.description, kept=True)
        return self._prepare(body, name)


def prepare_file(file: Path, prepare: Prepare) -> Tensor:
    """Return the sample that a handler makes of a file, (*input shape).

    Raises:
        SamplesError: it cannot be read, or the handler fails on it.
    """
    try:
        return prepare(file.read_bytes(), file.name)
    except OSError as error:
        raise SamplesError(f"{file}: {error.strerror}") from None
    except FireError as error:
        raise SamplesError(f"{file}: {error}") from None
