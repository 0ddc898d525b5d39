"""The names of the classes in an archive, as answers have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..model.class_names import NAMES_FILE, read_class_names


def served_names(folder: Path, predict: Callable[[], Sequence[Any]]) -> dict[str, str]:
    """Return the name of each class by its index in digits, of several names the last.

    Args:
        folder: the unpacked archive.
        predict: returns the logits of an example, each (classes,).

    Returns:
        None of them where the archive has no names.

    Raises:
        ConfigError: they do not name every class of this model once.
    """
    path = folder / NAMES_FILE
    if not path.is_file():
        return {}
    try:
        answered = predict()
    except Exception:  # In mode `off` nothing was predicted yet; zeros need not suit a model.
        answered = ()
    logits = [row for row in answered if isinstance(row, Tensor) and row.dim() == 1]
    names = read_class_names(path, len(logits[0]) if logits else None)
    return {str(i): each[-1] for i, each in enumerate(names)}
