"""Rows of numbers in a temporary file: of many samples, memory need not hold all features."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .errors import OutputError

BLOCK_BYTES = 8 << 20
"""What is read at once. The file is read, not mapped: mapped pages would count as memory."""


class RowFile:
    """Rows (N, D) float32 in a file without a name, which goes with this object, or the process."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - open as long as this object.
        self._count = self._width = 0

    def __len__(self) -> int:
        return self._count

    def write(self, start: int, rows: Tensor) -> None:
        """Write rows, (n, D), from row `start` on; D is that of the first ones.

        Raises:
            OutputError: the disk has no room for them.
        """
        self._width = rows.shape[1]
        try:
            self._file.seek(4 * start * self._width)
            self._file.write(rows.float().cpu().contiguous().numpy().data)
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"{tempfile.gettempdir()}: features of samples cannot be kept there: "
                f"{error.strerror}: set TMPDIR to a folder with room for them"
            ) from None
        self._count = max(self._count, start + len(rows))

    def __getitem__(self, which: Tensor) -> Tensor:
        """Return some rows in their order, (n, D) float32.

        Args:
            which: (N,) bool.
        """
        found = torch.empty(int(which.sum()), self._width)
        place = 0
        for start, rows in self.blocks():
            wanted = rows[which[start : start + len(rows)]]
            found[place : place + len(wanted)] = wanted
            place += len(wanted)
        return found

    def between(self, start: int, end: int) -> Tensor:
        """Return the rows from `start` on, before `end`, (n, D) float32."""
        found = np.empty((end - start, self._width), np.float32)
        self._file.seek(4 * start * self._width)
        self._file.readinto(found.data)
        return torch.from_numpy(found)

    def sorted_by(self, keys: Tensor) -> RowFile:
        """Return a file with the rows sorted by their keys, those of a key in their order.

        Args:
            keys: small whole numbers, (N,) int64.

        Raises:
            OutputError: the disk has no room for them.
        """
        found = RowFile()
        counts = keys.bincount()
        places = (counts.cumsum(0) - counts).tolist()
        for start, rows in self.blocks():
            own = keys[start : start + len(rows)]
            for key in sorted(set(own.tolist())):
                of_key = rows[own == key]
                found.write(places[key], of_key)
                places[key] += len(of_key)
        return found

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the rows block by block, each with the place of its first one, for a short while.

        The next block takes the memory of the one before.
        """
        block = max(1, BLOCK_BYTES // max(1, 4 * self._width))
        memory = np.empty((min(block, self._count), self._width), np.float32)
        for start in range(0, self._count, block):
            rows = memory[: min(block, self._count - start)]
            self._file.seek(4 * start * self._width)
            self._file.readinto(rows.data)
            yield start, torch.from_numpy(rows)
