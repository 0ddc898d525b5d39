"""A time limit for a search."""

from __future__ import annotations

import math
import time


class Budget:
    """The seconds that a search may take, counted from now.

    Args:
        seconds: the limit; None for no limit.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._start = time.monotonic()
        self._end = math.inf if seconds is None else time.monotonic() + seconds

    def spent(self, reserve: float = 0.0) -> bool:
        """Return whether the time is over. A search then stops and returns its best so far.

        Args:
            reserve: seconds that are to be left.
        """
        return time.monotonic() + reserve >= self._end

    def left(self) -> float:
        """Return the seconds that are left, 0 or more."""
        return max(0.0, self._end - time.monotonic())

    def used(self) -> float:
        """Return the seconds since it began."""
        return time.monotonic() - self._start

    def share(self, parts: int) -> Budget:
        """Return a budget that starts now, of one of `parts` equal parts of the time left."""
        left = self.left()
        return Budget() if math.isinf(left) else Budget(left / parts)
