"""A digest of samples, or of an archive, as they lie on the disk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from torchserve_fire.format.digest import file_sha256

from .listed_files import LIST_SUFFIXES, files_in_list


def content_digest(path: Path) -> str:
    """Return a digest of a file, of a folder with all that is in it, or of a list and its files.

    Args:
        path: where times and permissions do not count; names below a folder do.

    Raises:
        OSError: something cannot be read.
        SamplesError: a list of files cannot be followed.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return _digest([[file.relative_to(path).as_posix(), file_sha256(file)] for file in files])
    if path.suffix.lower() in LIST_SUFFIXES:
        listed = files_in_list(path).paths
        return _digest([file_sha256(path), *map(file_sha256, listed)])
    return file_sha256(path)


def _digest(values: list[list[str]] | list[str]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
