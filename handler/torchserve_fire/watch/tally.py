"""Counts that a worker keeps, and hands on a while later, all together."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping

Key = tuple[str, tuple[str, ...]]
"""The name of a count, and the values of its labels."""

SECONDS = 1.0


class Tally:
    """Counts by name and labels, which several threads may add to.

    They are handed on some time after the first addition, once for many requests, since reporting a
    number costs more than counting.

    Args:
        give: called in a thread of its own, with what was added since the call before.
        seconds: how long after the first addition it is called.
    """

    def __init__(self, give: Callable[[Mapping[Key, int]], None], seconds: float = SECONDS) -> None:
        self._give = give
        self._seconds = seconds
        self._lock = threading.Lock()
        self._new: Counter[Key] = Counter()
        self._all: Counter[Key] = Counter()
        self._timer: threading.Timer | None = None

    def add(self, name: str, value: int = 1, *labels: str) -> None:
        """Add to a count; an addition of 0 does nothing."""
        if value == 0:
            return
        with self._lock:
            self._new[name, labels] += value
            self._all[name, labels] += value
            if self._timer is None:
                self._timer = threading.Timer(self._seconds, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Hand on what was added since the last time."""
        with self._lock:
            new, self._new, self._timer = self._new, Counter(), None
        if new:
            self._give(new)

    def total(self, name: str) -> int:
        """Return a count of all labels since the start."""
        with self._lock:
            return sum(value for key, value in self._all.items() if key[0] == name)

    def by_label(self, name: str) -> dict[str, int]:
        """Return a count since the start, by its first label."""
        with self._lock:
            return {key[1][0]: value for key, value in self._all.items() if key[0] == name}
