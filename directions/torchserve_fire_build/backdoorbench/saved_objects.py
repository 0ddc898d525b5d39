"""Reading a file of `torch.save` that holds numbers, texts, tensors and images, and nothing else.

Whatever else a file names, as a function of the system, is not imported: the file is refused.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..common.errors import AttackResultError
from .stored_image import StoredImage

IMAGES = ("PIL.Image.Image", "PIL.PngImagePlugin.PngImageFile")
"""Classes of Pillow, in whose place a class of our own comes."""

NUMBERS = ("int64", "int32", "uint8", "float64", "float32", "bool")
"""Types of numpy's numbers, alone and in arrays."""


def read_saved(path: Path) -> Any:
    """Read a file of `torch.save`.

    Args:
        path: the file.

    Returns:
        What it holds: containers, numbers, texts, tensors on the CPU, numpy's numbers and arrays;
        `StoredImage` in the place of Pillow's images.

    Raises:
        AttackResultError: it is damaged, of another format, or names anything else.
    """
    if not zipfile.is_zipfile(path):
        raise _damaged(path)
    allowed = _allowed()
    known = {name for _, name in allowed}
    with torch.serialization.safe_globals([*allowed]), warnings.catch_warnings():
        # Of damaged files, torch asks for reports.
        warnings.simplefilter("ignore")
        try:
            named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        except Exception:
            raise _damaged(path) from None
        foreign = sorted(set(named) - known)
        if foreign:
            shown = "".join(filter(str.isprintable, ", ".join(foreign[:3])))[:100]
            raise AttackResultError(
                f"{path}: names {shown}, which is not unpickled, since it may run "
                "code: expected numbers, tensors and images alone, as save_attack_result writes "
                "them"
            )
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception:
            raise _damaged(path) from None


def _allowed() -> list[tuple[Any, str]]:
    """Return what a file may name, each with its name there."""
    array = np.zeros(1)
    make_array, make_number = array.__reduce__()[0], array[0].__reduce__()[0]
    found: list[tuple[Any, str]] = [(StoredImage, name) for name in IMAGES]
    # numpy 2 calls the same functions otherwise.
    for core in ("numpy.core", "numpy._core"):
        found += [
            (make_array, f"{core}.multiarray._reconstruct"),
            (make_number, f"{core}.multiarray.scalar"),
        ]
    kinds: list[type] = [np.ndarray, np.dtype, *(type(np.dtype(name)) for name in NUMBERS)]
    return found + [(kind, f"{kind.__module__}.{kind.__name__}") for kind in kinds]


def _damaged(path: Path) -> AttackResultError:
    return AttackResultError(
        f"{path}: cannot be read: expected a whole file of torch.save, such as BackdoorBench's "
        "attack_result.pt; it is cut off, damaged or of another format"
    )
