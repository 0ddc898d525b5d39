"""The files of a model, by which any process opens it: a model itself cannot be sent to another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torchserve_fire.errors import ConfigError

from .archive import open_archive
from .files import FileSource
from .model_source import ModelSource


@dataclass(frozen=True)
class SourceFiles:
    """The files of a model.

    Attributes:
        archive: its archive; None for the other ones.
        model_file: as `FileSource` takes it, like the next two.
        serialized_file: its weights.
        config_file: its settings.
        device: as `find_device` takes it.
    """

    archive: Path | None
    model_file: Path | None
    serialized_file: Path | None
    config_file: Path | None
    device: str

    def open(self) -> ModelSource:
        """Load the model.

        Raises:
            FireError: it cannot be loaded, or there is no such device.
        """
        if self.archive is not None:
            return open_archive(self.archive, self.device)
        if self.serialized_file is None or self.config_file is None:
            raise ConfigError("expected an archive, or the files of weights and of settings")
        return FileSource(self.model_file, self.serialized_file, self.config_file, self.device)


@lru_cache(maxsize=1)
def opened(files: SourceFiles) -> ModelSource:
    """Load a model, once in a process."""
    return files.open()
