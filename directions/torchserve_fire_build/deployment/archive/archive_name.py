"""What an archive is called, and where a model store holds it."""

from __future__ import annotations

import re
from pathlib import Path

from torchserve_fire.errors import FireError
from torchserve_fire.format.write_file import check_writable

# TorchServe's own pattern for names; versions stand in the same places of its URLs.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-.]*")


def archive_path(folder: Path, model_name: str, version: str) -> Path:
    """Return where a model store holds the archive of a version."""
    return folder / f"{model_name}-{version}.mar"


def new_archive_path(folder: Path, model_name: str, version: str, *, force: bool = False) -> Path:
    """Return where a new archive goes.

    Args:
        folder: the model store.
        model_name: to serve it under.
        version: of the model.
        force: whether an archive of that name may be replaced.

    Raises:
        FireError: TorchServe could not serve the name or version, there is no such folder, or the
            archive exists or cannot be written.
    """
    check_name("model name", model_name)
    check_name("version", version)
    path = archive_path(folder, model_name, version)
    if not folder.is_dir():
        raise FireError(f"{folder}: no such folder, expected the model store: make it first")
    check_writable(path)
    if path.exists() and not force:
        raise FireError(f"{path}: exists already; --force replaces it")
    return path


def check_name(what: str, value: str) -> None:
    """Refuse a name or version that TorchServe could not serve.

    Raises:
        FireError: it holds other characters, or "..", which TorchServe refuses in a file's name.
    """
    if not NAME.fullmatch(value) or ".." in value:
        raise FireError(
            f"{what} {value!r}: expected letters, digits, '_', '-' and single '.', "
            "beginning with a letter or digit"
        )
