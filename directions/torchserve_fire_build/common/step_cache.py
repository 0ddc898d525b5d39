"""Results of finished steps in a folder, so that interrupted work goes on where it stopped.

Files hold tensors and JSON, never pickles, and are written whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from torchserve_fire.errors import FireError
from torchserve_fire.format.safetensors_file import parse_safetensors
from torchserve_fire.format.tensor_digest import tensor_sha256
from torchserve_fire.format.write_file import write_file

logger = logging.getLogger(__name__)

CACHE_BYTES = 4 << 30
"""What the steps in a folder may take; those that were used longest ago make room."""

ABANDONED_SECONDS = 3600.0
"""After so long, a file that was begun is no longer being written."""

METADATA_KEY = "torchserve_fire_step"
PREFIX, SUFFIX = "step-", ".safetensors"


@dataclass(frozen=True)
class StepCache:
    """Keeps what the steps of one piece of work result in.

    Attributes:
        folder: where; None to keep nothing. It is made if only its last part is missing.
        work: a digest of everything that decides the results.
        scope: of which part of the work the steps are.
        limit: bytes that all steps in the folder may take, those of other work, too.
    """

    folder: Path | None
    work: str = ""
    scope: str = ""
    limit: int = CACHE_BYTES

    def within(self, part: str) -> StepCache:
        """Return the same for a part of the work, whose steps have names of their own."""
        return replace(self, scope=f"{self.scope}{part}/")

    def result(
        self, step: str, compute: Callable[[], Mapping[str, Tensor]]
    ) -> Mapping[str, Tensor]:
        """Return what a step results in: from the folder, or computed, and kept there.

        A damaged file is dropped with a warning. Where nothing can be written, a warning says so,
        and the work goes on.

        Args:
            step: its name, once in its scope.
            compute: does the step. The result is the same each time, to the bit.

        Returns:
            Tensors on the CPU by name.
        """
        kept = self.kept(step)
        if kept is not None:
            return kept
        result = compute()
        self.keep(step, result)
        return result

    def kept(self, step: str) -> Mapping[str, Tensor] | None:
        """Return what a step resulted in, from the folder; None if it is not there.

        A damaged file is dropped with a warning.
        """
        if self.folder is None:
            return None
        return _read(self._file(self.folder, step), self.work, self.scope + step)

    def holds(self, step: str) -> bool:
        """Whether there is a file with what a step results in."""
        return self.folder is not None and self._file(self.folder, step).is_file()

    def _file(self, folder: Path, step: str) -> Path:
        digest = hashlib.sha256(json.dumps([self.work, self.scope + step]).encode()).hexdigest()
        return folder / f"{PREFIX}{digest[:40]}{SUFFIX}"

    def keep(self, step: str, result: Mapping[str, Tensor]) -> None:
        """Keep what a step results in; where nothing can be written, a warning says so."""
        if self.folder is None:
            return
        from safetensors.torch import save

        name, file = self.scope + step, self._file(self.folder, step)
        size = sum(tensor.nbytes for tensor in result.values())
        if size > self.limit:
            return
        # Copies, because the format refuses tensors that share memory.
        tensors = {
            key: tensor.detach().cpu().contiguous().clone() for key, tensor in result.items()
        }
        said = {
            "work": self.work,
            "step": name,
            "tensors": {key: tensor_sha256(tensor) for key, tensor in tensors.items()},
        }
        data = save(tensors, {METADATA_KEY: json.dumps(said)})
        try:
            file.parent.mkdir(exist_ok=True)
            make_room(file.parent, self.limit - len(data))
            write_file(data, file)
        except (FireError, OSError) as error:
            logger.warning("cache: %s: %s is not kept: %s", file.parent, name, error)


NO_CACHE = StepCache(None)
"""Keeps nothing."""


def _read(file: Path, work: str, name: str) -> Mapping[str, Tensor] | None:
    """Return a step's result; None if it is not there, or was damaged and has been dropped."""
    try:
        contents = parse_safetensors(file.read_bytes(), file.name)
        said = json.loads(contents.metadata[METADATA_KEY])
        digests = {key: tensor_sha256(tensor) for key, tensor in contents.tensors.items()}
        if said != {"work": work, "step": name, "tensors": digests}:
            raise ValueError
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (FireError, OSError, ValueError, KeyError):
        drop_damaged(file)
        return None
    with contextlib.suppress(OSError):  # It may be somebody else's.
        os.utime(file)
    return contents.tensors


def drop_damaged(file: Path) -> None:
    """Delete a file of a cache that cannot be used, and say so."""
    logger.warning("cache: %s: damaged, and dropped", file)
    with contextlib.suppress(OSError):
        file.unlink()


def _is_abandoned(entry: os.DirEntry[str]) -> bool:
    """Whether a file is what a build that was killed had begun to write."""
    begun = entry.name.startswith(f".{PREFIX}") and entry.name.endswith(".tmp")
    return begun and time.time() - entry.stat().st_mtime > ABANDONED_SECONDS


def make_room(folder: Path, left: int) -> None:
    """Delete steps, those that were used longest ago first, until no more than `left` bytes stay.

    Args:
        folder: the cache.
        left: bytes.
    """
    steps = []
    for entry in os.scandir(folder):
        # Another build may delete them meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if entry.name.startswith(PREFIX) and entry.name.endswith(SUFFIX):
                status = entry.stat()
                steps.append((status.st_mtime, status.st_size, entry.path))
            elif _is_abandoned(entry):
                Path(entry.path).unlink()
    taken = sum(size for _, size, _ in steps)
    for _, size, path in sorted(steps):
        if taken <= left:
            break
        Path(path).unlink(missing_ok=True)
        taken -= size
