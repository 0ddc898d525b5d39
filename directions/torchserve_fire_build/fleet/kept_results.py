"""The results of inspected archives, in a folder, so that an interrupted fleet goes on from there.

A file is named by a digest of everything that decides its result, and is written whole or not at
all. What could not be told is not kept: it may be otherwise once somebody mended the archive's
surroundings.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from torchserve_fire.errors import FireError
from torchserve_fire.format.write_file import made_folder, write_file

from ..common.step_cache import drop_damaged
from .archive_task import ArchiveResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptResults:
    """Results by the digests of their tasks.

    Attributes:
        folder: where. It is made if only its last part is missing.
    """

    folder: Path

    def find(self, digest: str) -> ArchiveResult | None:
        """Return a result; None if it is not there, or was damaged and has been dropped."""
        file = self._file(digest)
        try:
            values = json.loads(file.read_bytes())
            if values.pop("task") != digest:
                raise ValueError
            for name in ("suspects", "named", "methods"):
                values[name] = tuple(values[name])
            return ArchiveResult(**values)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            drop_damaged(file)
            return None

    def keep(self, digest: str, result: ArchiveResult) -> None:
        """Keep a result that tells something; where it cannot be written, a warning says so."""
        if result.found is None:
            return
        text = json.dumps({"task": digest, **asdict(result)}, allow_nan=False)
        try:
            with made_folder(self.folder):
                write_file(text.encode(), self._file(digest))
        except FireError as error:
            logger.warning("cache: %s: a result is not kept: %s", self.folder, error)

    def _file(self, digest: str) -> Path:
        return self.folder / f"inspected-{digest[:40]}.json"
