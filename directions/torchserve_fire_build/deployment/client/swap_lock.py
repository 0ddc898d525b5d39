"""One swap of a model at a time, whichever process makes it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from torchserve_fire.errors import FireError


@contextlib.contextmanager
def swap_lock(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of a model, a hidden file in a folder, while the block runs.

    The system lets go of it when the process ends, however it ends. It holds between processes of
    one machine; two machines that share the folder exclude each other only where its file system
    passes flock on, as NFS does on Linux.

    Args:
        folder: the server's model store, or the folder that its workers take bundles from.
        name: the model's name.

    Raises:
        FireError: another swap of this model holds it, or the folder takes no file.
    """
    path = folder / f".{name}.swap.lock"
    handle = _locked(path)
    while handle is None:
        handle = _locked(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _locked(path: Path) -> int | None:
    """Return the locked file's descriptor, None where it was removed before it could be locked."""
    try:
        # Who else writes to the folder may not have a file made elsewhere by a link.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise FireError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.lstat()):
            return handle
    except BlockingIOError:
        os.close(handle)
        raise FireError(
            f"{path}: another swap of this model is under way, or a deploy: try again"
        ) from None
    except FileNotFoundError:
        pass
    os.close(handle)
    return None
