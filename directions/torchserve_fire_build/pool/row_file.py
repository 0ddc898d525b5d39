"""Rows of numbers in a temporary file: of a large pool, memory need not hold all features."""

from __future__ import annotations

import tempfile

import numpy as np
import torch
from torch import Tensor

from ..common.errors import OutputError

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
                f"{tempfile.gettempdir()}: features of a pool cannot be kept there: "
                f"{error.strerror}: set TMPDIR to a folder with room for them"
            ) from None
        self._count = max(self._count, start + len(rows))

    def __getitem__(self, which: Tensor) -> Tensor:
        """Return some rows in their order, (n, D) float32.

        Args:
            which: (N,) bool.
        """
        found = torch.empty(int(which.sum()), self._width)
        block = max(1, BLOCK_BYTES // max(1, 4 * self._width))
        place = 0
        self._file.seek(0)
        for start in range(0, self._count, block):
            count = min(block, self._count - start)
            data = self._file.read(4 * count * self._width)
            rows = torch.from_numpy(np.frombuffer(data, np.float32).reshape(count, -1).copy())
            wanted = rows[which[start : start + count]]
            found[place : place + len(wanted)] = wanted
            place += len(wanted)
        return found
