"""Which folders a demo may empty and write to."""

from __future__ import annotations

from pathlib import Path

from torchserve_fire.errors import FireError

MARKER = ".torchserve-fire-demo"
"""A file that lies in each folder that a demo wrote."""


def check_own_folder(root: Path) -> None:
    """Refuse a folder that holds something else than the output of an earlier demo.

    Raises:
        FireError: it does, or it is a file.
    """
    if root.exists() and not root.is_dir():
        raise FireError(f"--output {root}: is a file, expected a folder")
    if root.is_dir() and any(root.iterdir()) and not (root / MARKER).is_file():
        raise FireError(
            f"--output {root}: holds other files, expected a new or empty folder, or one that an "
            "earlier demo wrote"
        )
