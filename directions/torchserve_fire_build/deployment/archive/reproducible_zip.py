"""Zip files whose bytes depend on nothing but the names and contents of their entries."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import zipfile
from pathlib import Path
from typing import IO

from torchserve_fire.errors import FireError
from torchserve_fire.format.write_file import check_writable

EARLIEST_TIME = 315532800  # 1980-01-01, before which a zip file has no dates.

Moment = tuple[int, int, int, int, int, int]
"""Year, month, day, hour, minute, second."""


def write_reproducibly(packed: Path, target: Path) -> None:
    """Write the entries of a zip file to `target`: sorted, with fixed times and permissions.

    The target is replaced in one step; whoever reads it meanwhile sees a whole file.

    Raises:
        FireError: it cannot be written; what was there stays.
    """
    moment: Moment = time.gmtime(source_date())[:6]
    check_writable(target)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file, zipfile.ZipFile(packed) as source:
                write_entries(source, file, moment)
            Path(name).chmod(0o644)
            Path(name).replace(target)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise FireError(f"{target}: cannot be written: {error.strerror}") from None


def write_entries(source: zipfile.ZipFile, file: IO[bytes], moment: Moment) -> None:
    """Write the entries of a zip file to another one, each with the same time.

    Entries are stored uncompressed, because the bytes of compressed ones depend on the version of
    zlib.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as destination:
        for entry in sorted(source.namelist()):
            info = zipfile.ZipInfo(entry, moment)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            info.file_size = source.getinfo(entry).file_size
            with source.open(entry) as reader, destination.open(info, "w") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)


def source_date() -> int:
    """Return the seconds since 1970 that archives are dated with.

    Raises:
        FireError: SOURCE_DATE_EPOCH is set, and is no such number.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return EARLIEST_TIME
    if not text.isdecimal():
        raise FireError(f"SOURCE_DATE_EPOCH: {text!r}, expected seconds since 1970")
    return max(int(text), EARLIEST_TIME)
