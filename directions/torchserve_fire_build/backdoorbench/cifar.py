"""The test images of CIFAR-10 and CIFAR-100, as their authors pack them for Python."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..common.errors import AttackResultError
from .clean_set import CleanSet

SIDE = 32


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles containers, texts, numbers and arrays of numpy, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle names.

        Raises:
            UnpicklingError: it is nothing that an array is made of.
        """
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.zeros(1).__reduce__()[0]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            # In this way newer versions of Python write bytes for older ones.
            return _as_bytes
        raise pickle.UnpicklingError(f"{module}.{name}")


def _as_bytes(text: str, encoding: str) -> bytes:
    return text.encode("latin-1")


def read_cifar_10(file: Path) -> CleanSet:
    """Read `test_batch` of CIFAR-10, and the classes' names from `batches.meta` beside it.

    Raises:
        AttackResultError: it is none.
    """
    return _read(file, "labels", 10, file.with_name("batches.meta"), "label_names")


def read_cifar_100(file: Path) -> CleanSet:
    """Read `test` of CIFAR-100, and the classes' names from `meta` beside it.

    Raises:
        AttackResultError: it is none.
    """
    return _read(file, "fine_labels", 100, file.with_name("meta"), "fine_label_names")


def _read(file: Path, key: str, classes: int, names_file: Path, names_key: str) -> CleanSet:
    try:
        values = _unpickled(file)
        pixels = np.asarray(values["data"], dtype=np.uint8).reshape(-1, 3, SIDE, SIDE)
        labels = [int(label) for label in values[key]]
        if len(labels) != len(pixels) or not 0 <= min(labels) <= max(labels) < classes:
            raise ValueError
    except Exception:  # A damaged pickle raises anything.
        raise AttackResultError(
            f"{file}: expected the test images of CIFAR for Python, 'data' and {key!r}; it is "
            "damaged, of another format, or holds other objects than arrays"
        ) from None
    images = pixels.transpose(0, 2, 3, 1)
    names = _names(names_file, names_key) if names_file.is_file() else ()
    return CleanSet(labels, lambda index: Image.fromarray(images[index]), names)


def _names(file: Path, key: str) -> Sequence[str]:
    try:
        names = _unpickled(file)[key]
        if not all(isinstance(name, str) for name in names):
            raise TypeError
    except Exception:
        raise AttackResultError(
            f"{file}: expected the names of CIFAR's classes, {key!r}; it is damaged, of another "
            "format, or holds other objects"
        ) from None
    return tuple(names)


def _unpickled(file: Path) -> Any:
    with file.open("rb") as stream:
        return _ArrayUnpickler(stream, encoding="latin1").load()
