"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError

MAX_NAME_BYTES = 230
"""What file systems take, less what the name of the temporary file adds."""


def check_writable(path: Path) -> None:
    """Refuse a file that could not be written, before the work for it begins.

    Raises:
        OutputError: its folder does not exist or takes no files, or it is a folder itself.
    """
    folder = path.parent
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
        raise OutputError(f"{path.name[:40]}...: cannot be written: the file name is too long")
    if not folder.is_dir():
        raise OutputError(f"{path}: cannot be written: no folder {folder}")
    if path.is_dir():
        raise OutputError(f"{path}: cannot be written: it is a folder, expected a file")
    try:
        # Permissions alone do not show it: /proc takes no file from anybody.
        tempfile.NamedTemporaryFile(prefix=f".{path.name}.", suffix=".tmp", dir=folder).close()
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {folder} takes no file ({error.strerror})"
        ) from None


def write_file(data: bytes, path: Path) -> None:
    """Write a file in one step: an interruption leaves what was there before.

    Raises:
        OutputError: as `check_writable`, or the disk is full.
    """
    write_files({path: data})


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all lie on the disk before the first takes its place.

    Raises:
        OutputError: as `check_writable`, or the disk is full; then none of them has changed.
    """
    for path in files:
        check_writable(path)
    temporaries: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
            temporaries[path] = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            # Made for this user alone; what is written here is no secret.
            temporaries[path].chmod(0o644)
        for path, temporary in temporaries.items():
            temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def check_folder(folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder that could not be written files to, before the work for them begins.

    Args:
        folder: it need not exist, if only its last part is missing.
        names: of the files.

    Raises:
        OutputError: it is no folder, or neither exists nor can be made, or takes no such files.
    """
    if folder.is_dir():
        for name in names:
            check_writable(folder / name)
    elif folder.exists():
        raise OutputError(f"{folder}: is a file, expected a folder")
    else:
        check_writable(folder)


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder if it is missing; take it away again where nothing came into it.

    Raises:
        OutputError: it cannot be made.
    """
    existed = folder.is_dir()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}") from None
    try:
        yield
    except BaseException:
        if not existed and not any(folder.iterdir()):
            folder.rmdir()
        raise


def write_folder(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files that belong together into a folder, which is made if it is missing.

    Args:
        folder: where to.
        files: contents by name.

    Returns:
        The files.

    Raises:
        OutputError: the folder or the files cannot be written; then none of them has changed.
    """
    check_folder(folder, files)
    paths = {folder / name: data for name, data in files.items()}
    with made_folder(folder):
        write_files(paths)
    return list(paths)
