"""Which versions of a model are being replaced, for a run that takes up what one before it left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from torchserve_fire.format.write_file import write_file


def read_replaced(model_store: Path, name: str) -> list[str]:
    """Return the versions that were replaced and not yet unregistered."""
    try:
        versions = json.loads(_path(model_store, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(version) for version in versions] if isinstance(versions, list) else []


def write_replaced(model_store: Path, name: str, versions: Sequence[str]) -> None:
    """Keep these versions in a hidden file of the model store; without any, there is no file.

    Raises:
        OutputError: it cannot be written.
    """
    path = _path(model_store, name)
    if versions:
        write_file(json.dumps(list(versions)).encode(), path)
    else:
        path.unlink(missing_ok=True)


def _path(model_store: Path, name: str) -> Path:
    return model_store / f".{name}.replaced.json"
