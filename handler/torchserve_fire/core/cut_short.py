"""Archives that were copied in part. It needs no torch."""

from __future__ import annotations

from pathlib import Path

CUT_SHORT = "damaged or cut short, expected a whole archive (.mar): copy it again"


def begins_as_zip(archive: Path) -> bool:
    """Return whether a file's first bytes are those of a zip, whatever became of its end.

    Raises:
        OSError: it cannot be read.
    """
    with archive.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"
