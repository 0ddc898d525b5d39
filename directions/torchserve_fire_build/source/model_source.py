"""A model, and how samples of it are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch

from torchserve_fire.core.unpack import Unpacked
from torchserve_fire.errors import ModelError
from torchserve_fire.format.bundle import Bundle, InputDescription
from torchserve_fire.model.load_model import LoadedModel

from ..samples.samples import Samples


class ModelSource(ABC):
    """A model, and how samples of it are read.

    Attributes:
        loaded: the model.
        device: that it was asked to run on. An archive's handler may have put it elsewhere.
        where: what says how inputs are prepared, for messages.
        names_file: TorchServe's `index_to_name.json`, if there is one.
        archive: that they come from, unpacked; None if they come from files.
        allow_other_weights: whether a bundle that was built for other weights may be used.
    """

    loaded: LoadedModel
    device: torch.device
    where: str
    names_file: Path | None = None
    archive: Unpacked | None = None
    allow_other_weights: bool = False

    @property
    def parameter(self) -> str:
        """The parameter of a request in which an archive's handler looks for the body."""
        return "body"

    def unpacked(self) -> Unpacked:
        """Return the archive that the model comes from.

        Raises:
            ModelError: it comes from files.
        """
        if self.archive is None:
            raise ModelError(f"{self.where}: the model comes from files, expected an archive")
        return self.archive

    @property
    @abstractmethod
    def input_kind(self) -> str | None:
        """What the model takes, one of `INPUTS`; None if samples must show it."""

    @abstractmethod
    def describe_input(self) -> InputDescription:
        """Return what the model takes.

        Raises:
            FireError: samples must show it.
        """

    @property
    @abstractmethod
    def weights_file(self) -> Path:
        """The file of the model's weights.

        Raises:
            ModelError: nothing names one.
        """

    @abstractmethod
    def with_weights(self, file: Path) -> LoadedModel:
        """Load the model again, with other weights in a file of the same kind.

        Raises:
            FireError: it does not take them.
        """

    @abstractmethod
    def open_samples(self, path: Path) -> Samples:
        """Open samples.

        Args:
            path: a folder or a file, as users give it.

        Raises:
            SamplesError: there are none, or they are not what the model takes.
        """

    @abstractmethod
    def open_files(self, paths: Sequence[Path]) -> Samples:
        """Open samples that are named file by file.

        Args:
            paths: one or more files; each sample is called by its path.

        Raises:
            SamplesError: one is not what the model takes.
        """

    @abstractmethod
    def check_fits(self, bundle: Bundle, file: str) -> None:
        """Refuse a bundle that was built for another model or another input.

        Args:
            bundle: the bundle.
            file: its name, for messages.

        Raises:
            FireError: it was.
        """
