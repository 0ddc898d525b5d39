"""The lines that a build logs for a person."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOGGER = "torchserve_fire_build"


class _Lines(logging.Handler):
    """Appends each line to a list."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def logged_lines() -> Iterator[list[str]]:
    """Gather what is logged in a block, line by line; the list grows as the block runs."""
    logger, gathered = logging.getLogger(LOGGER), _Lines()
    level = logger.level
    logger.addHandler(gathered)
    logger.setLevel(logging.INFO)
    try:
        yield gathered.lines
    finally:
        logger.removeHandler(gathered)
        logger.setLevel(level)
