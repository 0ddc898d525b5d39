"""The folder that a demo writes, and everything in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from torchserve_fire.errors import FireError

from ..common.interrupts import interrupts_deferred
from ..common.names import NAMES_FILE
from .own_folder import MARKER, check_own_folder

SETTINGS: Mapping[str, Any] = {
    "minWorkers": 1,
    "maxWorkers": 1,
    "batchSize": 8,
    "maxBatchDelay": 10,
    "responseTimeout": 60,
}
"""What TorchServe reads of model-config.yaml."""


@dataclass(frozen=True)
class DemoFiles:
    """Where a demo's files lie.

    Attributes:
        root: the output folder.
        name: of the kind of demo.
        classifier: name of the classifier's Python file, without its suffix.
    """

    root: Path
    name: str = "digits"
    classifier: str = "digit_net"

    @property
    def model_file(self) -> Path:
        """Python file of the classifier's class."""
        return self.root / f"{self.classifier}.py"

    @property
    def weights(self) -> Path:
        """Its weights."""
        return self.root / f"{self.classifier}.pth"

    @property
    def config(self) -> Path:
        """The model-config.yaml of the repaired archive, and of calibration."""
        return self.root / "model-config.yaml"

    @property
    def plain_config(self) -> Path:
        """The same, serving the model as it is."""
        return self.root / "model-config-off.yaml"

    @property
    def bundle(self) -> Path:
        """The direction bundle."""
        return self.root / f"{self.name}.safetensors"

    @property
    def model_store(self) -> Path:
        """Folder of the archives."""
        return self.root / "model_store"

    @property
    def picture(self) -> Path:
        """The picture of clean, triggered and repaired cases."""
        return self.root / "demo.png"

    @property
    def class_names(self) -> Path:
        """The names of the classes, if they are not their numbers."""
        return self.root / NAMES_FILE

    def samples(self, part: str, kind: str) -> Path:
        """Return the folder of the "calibration" or "test" samples, "clean" or "triggered"."""
        return self.root / part / kind


@contextmanager
def fresh_output(files: DemoFiles) -> Iterator[None]:
    """Give an empty output folder; remove it if the demo fails or is interrupted.

    Args:
        files: in that folder.

    Raises:
        FireError: the folder holds something else than the output of an earlier demo.
    """
    root = files.root
    check_own_folder(root)
    existed = root.is_dir()
    try:
        _empty(root)
        files.model_store.mkdir(parents=True)
        (root / MARKER).touch()
    except OSError as error:
        raise FireError(f"--output {root}: cannot be written: {error.strerror}") from None
    try:
        yield
    except BaseException:
        with interrupts_deferred():
            _empty(root)
            if not existed:
                root.rmdir()
        raise


def _empty(root: Path) -> None:
    for item in root.iterdir() if root.is_dir() else ():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink()


def write_model(
    files: DemoFiles,
    source: Path,
    model: nn.Module,
    handler: Mapping[str, Any],
    class_names: Sequence[str] | None = None,
) -> None:
    """Write what a user brings: the model's file, its weights and its configuration.

    Args:
        files: where to.
        source: Python file of the model's class.
        model: the classifier.
        handler: the handler's settings, without the mode.
        class_names: names of the classes; None where the server answers their numbers.
    """
    shutil.copyfile(source, files.model_file)
    torch.save(model.state_dict(), files.weights)
    for file, mode in ((files.config, "repair"), (files.plain_config, "off")):
        file.write_text(config_text(handler, mode), encoding="utf-8")
    if class_names is not None:
        names = {str(i): name for i, name in enumerate(class_names)}
        files.class_names.write_text(json.dumps(names), encoding="utf-8")


def config_text(handler: Mapping[str, Any], mode: str) -> str:
    """Return a model-config.yaml.

    Args:
        handler: the handler's settings, without the mode.
        mode: of the handler.
    """
    settings = {**SETTINGS, "handler": {**handler, "mode": mode}}
    return yaml.safe_dump(settings, sort_keys=False)
