"""A folder of bundles, the newest of which a served model goes by.

It is looked at between two batches, by a thread that is about to answer one, and when a model is
asked to describe itself. Another bundle proves itself in a thread of its own, while batches go on
by the one that serves: a pass through a large model takes seconds. Where the handler's own way of
predicting is the proof, there is no such thread, since handlers are made for one.

Who can write to the folder need not be trusted. Neither many files nor large ones, written again
and again, take more than a share of a worker's time.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, FireError
from ..format.bundle_signature import SUFFIX as SIGNATURE_SUFFIX

logger = logging.getLogger(__name__)

SUFFIX = ".safetensors"
SECONDS = 0.25
"""How long batches are answered without a look: a folder may lie on another machine."""
REST = 9
"""How many times as long, after a look that refused something: it takes a tenth of the time."""
PATIENCE = 0.25
"""How long a batch waits for a bundle that proves itself meanwhile, in seconds: with a small model,
the batch after a swap goes by the new bundle."""
MAX_ENTRIES = 10_000
"""Of a folder that is listed."""
MAX_TRIED = 20
"""Files that a worker tries when it starts, before it goes by the archive's own bundle."""


@dataclass(frozen=True)
class BundleFile:
    """A bundle in the folder, as it was when that was listed.

    Attributes:
        path: the file.
        state: what changes when the file, or the signature beside it, is written anew.
    """

    path: Path
    state: tuple[int, ...]


def bundles_in(folder: Path) -> list[BundleFile]:
    """Return the bundles in a folder, the one that was written last first.

    Hidden files, and those of other names, are none.

    Raises:
        OSError: the folder cannot be listed, or holds too much.
    """
    times: dict[str, tuple[int, ...]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(times) == MAX_ENTRIES:
                raise OSError(errno.EFBIG, f"over {MAX_ENTRIES:,} entries, expected a few bundles")
            times[entry.name] = _times(entry)
    found = [
        BundleFile(folder / name, (*state, *times.get(name + SIGNATURE_SUFFIX, ())))
        for name, state in times.items()
        if name.endswith(SUFFIX) and not name.startswith(".") and state
    ]
    return sorted(found, key=lambda file: (file.state[0], file.path.name), reverse=True)


def _times(entry: os.DirEntry[str]) -> tuple[int, ...]:
    """Return when a file was written, and its size; nothing where it is none, or just went."""
    try:
        if not entry.is_file():
            return ()
        status = entry.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size


class BundleFolder:
    """Follows a folder: what was put there last serves, and where it is empty the first bundle.

    A bundle that is not taken leaves the one serving that serves. It is tried again when its file,
    or its signature, was written anew.

    Args:
        folder: where bundles are put.
        name: the model's and its version, for the log.
        take: swaps a bundle's file in, the first bundle where None.
        beside: whether that may run in a thread of its own.
    """

    def __init__(
        self, folder: Path, name: str, take: Callable[[Path | None], None], *, beside: bool
    ) -> None:
        self._folder = folder
        self._name = name
        self._take = take
        self._beside = beside
        self._lock = threading.Lock()
        self._next_look = 0.0
        self._seen: BundleFile | str | None = None
        self._serves: str | None = None
        self._refused: dict[str, str] | None = None

    def check(self) -> None:
        """Refuse a folder that cannot be listed.

        Raises:
            ConfigError: it cannot.
        """
        try:
            os.scandir(self._folder).close()
        except OSError as error:
            raise ConfigError(
                f"handler: bundle_folder: {self._folder}: {error.strerror}, expected a folder that "
                "the server's user can list: make it first"
            ) from None

    def look(self, *, at_once: bool = False, patience: float | None = PATIENCE) -> None:
        """Swap to what was put there since the last look, if anything was.

        Of several threads one looks; the others go on meanwhile.

        Args:
            at_once: whether also where the last look was a moment ago.
            patience: seconds to wait at most for a bundle that proves itself; None: until that has
                ended, also where it began before.
        """
        if not at_once and time.monotonic() < self._next_look:
            return
        # Released by the thread that tries what was found.
        if not self._lock.acquire(blocking=patience is None):
            return
        begun = time.monotonic()
        try:
            found = self._found()
        except BaseException:
            self._end(begun)
            raise
        if found is None:
            self._end(begun)
        elif self._beside:
            trying = threading.Thread(
                target=self._try, args=(found, begun), name="next bundle", daemon=True
            )
            trying.start()
            trying.join(patience)
        else:
            self._try(found, begun)

    def describe(self) -> dict[str, Any]:
        """Return where bundles are looked for, which file serves, and which was not taken, and why.

        The file is None while the first bundle serves.
        """
        return {"folder": str(self._folder), "file": self._serves, "refused": self._refused}

    def _found(self) -> list[Path | None] | None:
        """Return what is to be tried, the newest first; None where nothing is new."""
        try:
            files = bundles_in(self._folder)
        except OSError as error:
            self._seen = "not listed"
            self._tell_refused("", f"{self._folder}: {error.strerror}")
            return None
        newest = files[0] if files else "empty"
        if newest == self._seen:
            return None
        # A worker that starts goes by what the others go by: not by a newest that they refused.
        tried = files[: MAX_TRIED if self._seen is None else 1]
        self._seen = newest
        return [file.path for file in tried] or [None]

    def _try(self, found: list[Path | None], begun: float) -> None:
        refused = False
        try:
            for path in found:
                name = None if path is None else path.name
                try:
                    self._take(path)
                except FireError as error:
                    # The newest is what matters: the older ones are not told of.
                    if not refused:
                        self._tell_refused(name or "", str(error))
                    refused = True
                else:
                    self._serves = name
                    break
            if not refused:
                self._refused = None
        finally:
            self._end(begun)

    def _end(self, begun: float) -> None:
        """End a look, and say when the next one may begin."""
        ended = time.monotonic()
        rest = REST * (ended - begun) if self._refused else 0.0
        self._next_look = ended + max(SECONDS, rest)
        self._lock.release()

    def _tell_refused(self, file: str, reason: str) -> None:
        refused = {"file": file, "reason": reason}
        # Of a file that grows while it is looked at, the same is not told again and again.
        if refused != self._refused:
            logger.error(
                "torchserve-fire: %s takes no bundle from its folder: %s", self._name, reason
            )
        self._refused = refused
