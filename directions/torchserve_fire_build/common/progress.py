"""How far long steps are: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tqdm import tqdm

from .duration import about

logger = logging.getLogger(__name__)

LINE_SECONDS = 30.0
"""How often there is a line where standard error is no terminal. Shorter steps have none."""


class Progress:
    """A bar on standard error, after a second; where that is no terminal, lines in the log.

    Args:
        title: what is being done.
        total: number of samples or steps.
        clock: gives the seconds that have passed.
    """

    def __init__(
        self, title: str, total: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._title, self._total, self._done = title, total, 0
        self._clock = clock
        self._started = self._last_line = clock()
        self._bar: tqdm[Any] | None = None
        if sys.stderr.isatty():
            self._bar = tqdm(desc=title, total=total, delay=1, leave=False)

    def advance(self, steps: int = 1) -> None:
        """Count `steps` more steps as done."""
        self._done += steps
        if self._bar is not None:
            self._bar.update(steps)
            return
        now = self._clock()
        if self._done and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            left = (now - self._started) / self._done * max(0, self._total - self._done)
            logger.info("%s: %s of %s, %s left", self._title, self._done, self._total, about(left))

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
