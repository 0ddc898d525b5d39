"""BackdoorBench's `attack_result.pt`: a model, and its test images with the trigger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..common.errors import AttackResultError
from .saved_objects import read_saved
from .stored_image import StoredImage

WRAPPER = "module."
"""What `DataParallel` puts before the names of all weights."""

MAX_SIDE = 1024


@dataclass(frozen=True)
class TriggeredImage:
    """A test image with the trigger.

    Attributes:
        index: of its clean partner in the clean test set.
        label: its true class.
        target: the class that the attack leads it to.
        image: the image itself, or its file's path in the result's folder.
    """

    index: int
    label: int
    target: int
    image: StoredImage | Path


@dataclass(frozen=True)
class AttackResult:
    """What a file holds.

    Attributes:
        path: the file.
        architecture: the model's, as BackdoorBench calls it.
        classes: number of classes.
        weights: by the model's names.
        data_set: the clean one, as BackdoorBench calls it.
        data_path: where that was when the model was attacked.
        size: (height, width) that the model takes.
        triggered: the test images with the trigger whose class is not the target.
    """

    path: Path
    architecture: str
    classes: int
    weights: Mapping[str, Tensor]
    data_set: str
    data_path: str
    size: tuple[int, int]
    triggered: Sequence[TriggeredImage]

    @property
    def folder(self) -> Path:
        """The folder of the result, in which its images lie."""
        return self.path.resolve().parent


def read_attack_result(path: Path) -> AttackResult:
    """Read a file.

    Nothing in it is unpickled but numbers, texts, tensors and images. Images on disk are not read
    yet, but must be there.

    Raises:
        AttackResultError: it is no whole one, holds what no such file holds, or its images are
            missing.
    """
    values = read_saved(path)
    if not isinstance(values, dict):
        raise AttackResultError(f"{path}: holds a {type(values).__name__}, expected a dictionary")
    if "model" in values and "bd_test" not in values:
        raise AttackResultError(
            f"{path}: holds no bd_test, the triggered test images: expected an attack_result.pt, "
            "not the result of a defense"
        )
    fields = _Fields(path, values)
    classes = fields.whole("num_classes", least=2)
    test = fields.part("bd_test")
    if (size := _size(fields.one("img_size"))) is None:
        raise fields.wrong("img_size", "[height, width, 3]")
    return AttackResult(
        path,
        fields.text("model_name"),
        classes,
        _weights(fields.part("model")),
        fields.text("clean_data"),
        fields.text("data_path"),
        size,
        _triggered(test, classes),
    )


class _Fields:
    """A dictionary of the file, whose fields are checked as they are taken."""

    def __init__(self, path: Path, values: Mapping[Any, Any], where: str = "") -> None:
        self.path, self.values, self._where = path, values, where

    def one(self, name: str) -> Any:
        if name not in self.values:
            found = ", ".join(map(_shown, [*self.values][:8])) or "nothing"
            raise AttackResultError(
                f"{self.path}: lacks {self._where}{name}, expected BackdoorBench's "
                f"attack_result.pt; found {found}"
            )
        return self.values[name]

    def part(self, name: str) -> _Fields:
        value = self.one(name)
        if not isinstance(value, Mapping) or not value:
            raise self.wrong(name, "a dictionary that is not empty")
        return _Fields(self.path, value, f"{self._where}{name}.")

    def text(self, name: str) -> str:
        value = self.one(name)
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise self.wrong(name, "a text of one line")
        return value

    def whole(self, name: str, *, least: int) -> int:
        value = _as_whole(self.one(name))
        if value is None or value < least:
            raise self.wrong(name, f"a whole number, {least} or more")
        return value

    def numbers(self, name: str) -> list[int]:
        value = self.one(name)
        try:
            values = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise self.wrong(name, "numbers") from None
        if values.ndim != 1 or not (values == np.round(values)).all():
            raise self.wrong(name, "whole numbers")
        return [int(value) for value in values]

    def wrong(self, name: str, expected: str) -> AttackResultError:
        return AttackResultError(
            f"{self.path}: {self._where}{name} is {_shown(self.values[name])}, expected {expected}"
        )


def _shown(value: Any) -> str:
    """Return what a file holds on one line, cut short."""
    return " ".join(repr(value).split())[:60]


def _as_whole(value: Any) -> int | None:
    """Return a whole number, of Python, numpy or torch; None for anything else."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        if value.size != 1 if not isinstance(value, Tensor) else value.numel() != 1:
            return None
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int else None


def _size(value: Any) -> tuple[int, int] | None:
    if not isinstance(value, (list, tuple)) or len(value) not in (2, 3):
        return None
    sides = [_as_whole(side) for side in value]
    height, width, *channels = sides
    if channels not in ([], [3]) or height is None or width is None:
        return None
    return (height, width) if 0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE else None


def _weights(fields: _Fields) -> dict[str, Tensor]:
    """Return the weights, without what a wrapper has put before their names.

    Raises:
        AttackResultError: they are no tensors, or not all of them are finite numbers.
    """
    weights: dict[str, Tensor] = {}
    for name, value in fields.values.items():
        if not isinstance(name, str) or not name.isprintable() or not isinstance(value, Tensor):
            raise AttackResultError(
                f"{fields.path}: model holds {_shown(name)}: {_shown(value)}, expected a "
                "state_dict: names with a tensor each"
            )
        value = value.detach()
        if value.layout != torch.strided or value.is_quantized:
            raise fields.wrong(name, "a plain tensor")
        if value.is_floating_point() and not bool(value.float().isfinite().all()):
            raise AttackResultError(
                f"{fields.path}: the weights {name} are not all finite numbers (NaN or infinite): "
                "the training has failed, expected another model"
            )
        # A copy: two names for one tensor would be refused when they are written.
        weights[name.removeprefix(WRAPPER)] = value.clone().contiguous()
    return weights


def _triggered(fields: _Fields, classes: int) -> list[TriggeredImage]:
    """Return the images with the trigger, in the order of their indices.

    A container may hold more images than are tested on: those whose index is not listed, or that
    are not called poisoned, are left out.
    """
    container = fields.part("bd_data_container")
    stored = container.part("data_dict")
    poisoned = fields.numbers("poison_indicator")
    tested = set(fields.numbers("original_index_array"))
    found: dict[int, TriggeredImage] = {}
    missing: list[Path] = []
    for key, value in stored.values.items():
        index = _as_whole(key)
        if index is None or not 0 <= index < len(poisoned):
            raise AttackResultError(
                f"{fields.path}: a triggered image has the index {key!r}, expected one of the "
                f"{len(poisoned)} of the clean test set"
            )
        if index not in tested or not poisoned[index]:
            continue
        image = _triggered_image(stored, index, value, classes)
        if image.label == image.target:
            continue
        if isinstance(image.image, Path) and not image.image.is_file():
            missing.append(image.image)
        found[index] = image
    if missing:
        raise AttackResultError(
            f"{fields.path}: of {len(found)} triggered images {len(missing)} are not there, such "
            f"as {missing[0]}: copy the whole folder {missing[0].parent.parent.name} beside the "
            "file"
        )
    if not found:
        raise AttackResultError(
            f"{fields.path}: no test image has the trigger and another class than the target"
        )
    return [found[index] for index in sorted(found)]


def _triggered_image(stored: _Fields, index: int, value: Any, classes: int) -> TriggeredImage:
    """Read an entry in either form: a path beside the classes, or the image and the classes."""
    path = stored.path
    image: Any = None
    others: Any = ()
    if isinstance(value, Mapping):
        image, others = value.get("path"), value.get("other_info", ())
    elif isinstance(value, (list, tuple)) and value:
        image, *others = value
    numbers = [_as_whole(x) for x in others] if isinstance(others, (list, tuple)) else []
    if len(numbers) < 2 or not isinstance(image, (str, StoredImage)):
        raise AttackResultError(
            f"{path}: the triggered image {index} is {_shown(value)}, "
            "expected an image or its path, its target and its true class"
        )
    target, label = numbers[:2]
    if target is None or label is None or not (0 <= target < classes and 0 <= label < classes):
        raise AttackResultError(
            f"{path}: the triggered image {index} has the target {target} and the true class "
            f"{label}, expected classes of the model, 0 to {classes - 1}"
        )
    where = image if isinstance(image, StoredImage) else _place(path, index, image)
    return TriggeredImage(index, label, target, where)


def _place(path: Path, index: int, stored: str) -> Path:
    """Return where an image lies: in FOLDER/CLASS/NAME of the folder of the result.

    What comes before these three is where the attack was run, which may be another machine.
    """
    # Windows takes both separators.
    parts = PureWindowsPath(stored).parts[-3:]
    if (
        len(parts) < 3
        or any(part in ("..", ".") or ":" in part for part in parts)
        or (parts[0] in ("/", "\\"))
    ):
        raise AttackResultError(
            f"{path}: the triggered image {index} lies at {stored[:60]!r}, expected a path that "
            "ends in FOLDER/CLASS/NAME"
        )
    return path.resolve().parent.joinpath(*parts)
