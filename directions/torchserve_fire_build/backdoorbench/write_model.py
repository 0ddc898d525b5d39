"""Writing the model of a result: its weights, its file, and its settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from safetensors.torch import save
from torch import Tensor

from torchserve_fire.errors import ModelError
from torchserve_fire.model.model_file import (
    import_model_file,
    model_classes,
    model_file_folder,
)

from ..common.devices import Device
from ..common.errors import AttackResultError
from ..common.names import NAMES_FILE
from ..samples.predict import logits_of
from ..source.files import FileSource
from .architectures import model_file_for
from .attack_result import AttackResult
from .data_sets import DataSet
from .renamed_weights import renamed_weights

MODEL, WEIGHTS, CONFIG = "model.py", "model.safetensors", "model-config.yaml"

PLAIN_CONFIG = "plain-config.yaml"
"""The same settings for an archive without a bundle, which `repair` takes."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model.

    Attributes:
        model_file: Python file, or `timm:NAME`.
        folder: of the weights and settings.
    """

    model_file: Path
    folder: Path

    def load(self, device: Device) -> FileSource:
        """Load the model as a server would.

        Raises:
            FireError: it cannot be loaded.
        """
        weights, config = self.folder / WEIGHTS, self.folder / CONFIG
        return FileSource(self.model_file, weights, config, device)


def write_model(
    result: AttackResult,
    data_set: DataSet,
    names: Sequence[str],
    folder: Path,
    given: Path | None,
    device: Device,
) -> tuple[ModelFiles, str]:
    """Write the files of a model, and load it.

    Args:
        result: holds the weights.
        data_set: says how images are prepared.
        names: of the classes.
        folder: where to.
        given: the model file, None to write one.
        device: on which it is tried.

    Returns:
        The files, and a line about weights that were renamed; empty where none were.

    Raises:
        AttackResultError: the architecture is not known, or the weights do not fit it.
        FireError: the given model file cannot be loaded.
    """
    files = ModelFiles(given or folder / MODEL, folder)
    if given is None:
        text = model_file_for(result.architecture, result.classes, result.weights)
        if text is None:
            raise AttackResultError(
                f"{result.path}: model_name is {result.architecture!r}, which is not known here: "
                "give --model-file with the Python file of its class"
            )
        files.model_file.write_text(text, encoding="utf-8")
    settings = {
        "input": "image",
        "image_size": list(result.size),
        "mean": list(data_set.mean),
        "std": list(data_set.std),
    }
    for name, more in ((CONFIG, {}), (PLAIN_CONFIG, {"mode": "off"})):
        values = {"minWorkers": 1, "batchSize": 8, "handler": {**settings, **more}}
        text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None)
        (folder / name).write_text(text, encoding="utf-8")
    by_index = {str(i): name for i, name in enumerate(names)}
    (folder / NAMES_FILE).write_text(json.dumps(by_index, indent=2) + "\n", encoding="utf-8")
    return files, _write_weights(result, files, device, ours=given is None)


def _write_weights(result: AttackResult, files: ModelFiles, device: Device, *, ours: bool) -> str:
    """Write the weights, under the model's own names, and return a line about renamed ones."""
    file = files.folder / WEIGHTS
    said = ""
    file.write_bytes(save(dict(result.weights)))
    try:
        source = files.load(device)
    except ModelError as error:
        renamed = _renamed(result, files.model_file) if ours else None
        if renamed is None:
            raise AttackResultError(
                f"{result.path}: the weights do not fit {result.architecture}: {error}"
                + ("; if they are another model's, give --model-file" if ours else "")
            ) from None
        file.write_bytes(save(renamed))
        source = files.load(device)
        said = f"the weights have other names than in {result.architecture}: taken by their order"
    classes = logits_of(source.loaded.model, source.describe_input().example()).shape[1]
    if classes != result.classes:
        raise AttackResultError(
            f"{result.path}: num_classes is {result.classes}, but {files.model_file} answers "
            f"{classes}"
        )
    return said


def _renamed(result: AttackResult, model_file: Path) -> dict[str, Tensor] | None:
    with model_file_folder(model_file):
        (kind,) = model_classes(import_model_file(model_file), model_file, None)[-1:]
        return renamed_weights(result.weights, kind().state_dict())
