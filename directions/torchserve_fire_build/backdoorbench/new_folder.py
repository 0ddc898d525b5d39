"""A new folder that is there whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torchserve_fire.errors import FireError

from ..common.errors import OutputError


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """Make a folder under a temporary name, to be filled; it gets its own name after the block.

    Where the block fails, nothing stays behind.

    Args:
        output: must not exist; the folder that it lies in must.

    Raises:
        OutputError: it exists, or cannot be written.
        FireError: as the block raises it, with the folder's own name in it.
    """
    if os.path.lexists(output):
        raise OutputError(f"{output}: exists already, expected a new folder")
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        yield temporary
        temporary.rename(output)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror or error}") from None
    except FireError as error:
        # Of the temporary name nobody knows.
        raise type(error)(str(error).replace(str(temporary), str(output))) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
