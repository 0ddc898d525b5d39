"""The files of a quarantine, read as what they are: bytes that an attacker may have chosen."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import SamplesError
from ..samples.sample_files import is_left_out

PICTURE, TEXT, NUMBERS = "picture", "text", "numbers"
TEXT_SUFFIXES = (".json", ".csv", ".txt")
NUMBER_SUFFIXES = (".npz", ".safetensors", ".parquet")

MAX_BYTES = 64 << 20
"""Of one file; what a server keeps is far smaller."""

KINDS = {
    stat.S_IFLNK: "link",
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


@dataclass(frozen=True)
class Flagged:
    """What lies in a quarantine.

    Attributes:
        folder: where.
        names: of the files, sorted.
        passed_over: how many of what else lies there, such as links; these are not opened.
    """

    folder: Path
    names: tuple[str, ...]
    passed_over: Mapping[str, int]

    def in_words(self) -> str:
        """Say what was passed over; empty where nothing was."""
        if not self.passed_over:
            return ""
        parts = [f"{n} {kind}{'s' * (n > 1)}" for kind, n in sorted(self.passed_over.items())]
        return f"passed over, and not opened: {', '.join(parts)}"


def read_flagged(folder: Path) -> Flagged:
    """List the files of a quarantine; hidden ones are none.

    Raises:
        SamplesError: the folder cannot be listed, or holds no file.
    """
    names: list[str] = []
    others: Counter[str] = Counter()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_left_out(entry.name):
                    continue
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISREG(mode):
                    names.append(entry.name)
                else:
                    others[KINDS[stat.S_IFMT(mode)]] += 1
    except OSError as error:
        raise SamplesError(f"{folder}: {error.strerror}, expected a folder of files") from None
    found = Flagged(folder, tuple(sorted(names)), others)
    if not names:
        beside = f"; {found.in_words()}" if others else ""
        raise SamplesError(
            f"{folder}: no file in it, expected the quarantine of one model: its files side by "
            f"side{beside}"
        )
    return found


def kind_of(name: str) -> str:
    """Return how a file is shown, by its suffix; what has no other is tried as a picture."""
    suffix = Path(name).suffix.lower()
    if suffix in TEXT_SUFFIXES:
        return TEXT
    return NUMBERS if suffix in NUMBER_SUFFIXES else PICTURE


def read_file(folder: Path, name: str) -> bytes:
    """Return a file's bytes; nothing but a regular file of this folder is opened.

    Raises:
        SamplesError: it is gone, is no regular file any more, or is too large.
    """
    path = folder / name
    try:
        # A pipe put in its place since must not make anybody wait.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SamplesError(f"{path}: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise SamplesError(f"{path}: is no regular file any more")
        if status.st_size > MAX_BYTES:
            raise SamplesError(f"{path}: {status.st_size} bytes, expected at most {MAX_BYTES}")
        return file.read(MAX_BYTES)
