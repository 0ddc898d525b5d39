"""A model from its files: the Python file, the weights, and the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torchserve_fire.format.bundle import Bundle, InputDescription
from torchserve_fire.model.config import load_config
from torchserve_fire.model.fit import check_fits
from torchserve_fire.model.load_model import LoadedModel, load_model
from torchserve_fire.model.own_settings import own_settings
from torchserve_fire.model.pretrained_folder import CONFIG, is_pretrained, labels_of

from ..common.devices import Device, find_device
from ..common.names import NAMES_FILE
from ..samples.image_folder import ImageFolder
from ..samples.joined import JoinedSamples
from ..samples.open_samples import open_samples
from ..samples.sample_files import files_named
from ..samples.samples import Samples
from .model_source import ModelSource


class FileSource(ModelSource):
    """A model from its files, whose inputs are prepared as the configuration says.

    Args:
        model_file: Python file of the model's class, or `timm:NAME`; None beside a `torch.export`
            program or a folder of transformers.
        serialized_file: its weights, or the program.
        config_file: its `model-config.yaml`. An `index_to_name.json` beside it is read, too, else
            the names that come with a model of transformers.
        device: that the model runs on, as `find_device` takes it.

    Raises:
        FireError: a file is missing or wrong, or there is no such device.
    """

    def __init__(
        self,
        model_file: Path | None,
        serialized_file: Path,
        config_file: Path,
        device: Device = "auto",
    ) -> None:
        self.device = find_device(device)
        self._config = load_config(config_file, own_settings(model_file, serialized_file))
        self._model_file = model_file
        self._serialized_file = serialized_file
        self.loaded = self.with_weights(serialized_file)
        self.where = str(config_file)
        names = config_file.parent / NAMES_FILE
        if names.is_file():
            self.names_file = names
        elif model_file is None and is_pretrained(serialized_file):
            folder = serialized_file.parent
            self.names_file = folder / CONFIG if labels_of(folder) else None
        self.allow_other_weights = self._config.allow_other_weights

    @property
    def input_kind(self) -> str | None:
        """What the model takes, as the configuration says."""
        return self._config.input

    def describe_input(self) -> InputDescription:
        """Return what the model takes.

        Raises:
            ConfigError: it takes no images, and samples must show the shape.
        """
        return self._config.describe_input()

    @property
    def weights_file(self) -> Path:
        """The file of the model's weights."""
        return self._serialized_file

    def with_weights(self, file: Path) -> LoadedModel:
        """Load the model with the weights in a file.

        Raises:
            ModelError: it does not take them.
        """
        loaded = load_model(self._model_file, file, self._config.model_class)
        loaded.model.to(self.device)
        return loaded

    def open_samples(self, path: Path) -> Samples:
        """Open a folder of images, a file of tensors, or a table.

        Raises:
            SamplesError: there are none, or they are not what the model takes.
        """
        return open_samples(path, self._config)

    def open_files(self, paths: Sequence[Path]) -> Samples:
        """Open images, or files of tensors or of tables.

        Raises:
            SamplesError: one is not what the model takes.
        """
        if self._config.input == "image":
            return ImageFolder(files_named(paths), self._config.describe_input())
        return JoinedSamples([self.open_samples(path) for path in paths])

    def check_fits(self, bundle: Bundle, file: str) -> None:
        """Refuse a bundle that was built for another model or another input.

        Raises:
            FireError: it was.
        """
        check_fits(bundle, file, self.loaded, self._config)
