"""What the library logs, shown to whoever runs a command."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("torchserve_fire_build", "torchserve_fire.model")
"""What of the library is shown; a server's worker logs the rest."""
PROGRESS = "torchserve_fire_build.common.progress"


class _Messages(logging.Handler):
    """Prints what was found to standard output, warnings and progress to standard error."""

    def __init__(self, command: str) -> None:
        super().__init__(logging.INFO)
        self._command = command

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            print(f"{self._command}: warning: {message}", file=sys.stderr)
        elif record.name == PROGRESS:
            print(message, file=sys.stderr, flush=True)
        else:
            # What runs for hours may be read through a pipe.
            print(message, flush=True)


@contextmanager
def show_messages(command: str) -> Iterator[None]:
    """Print what the library logs while a command runs; inside another command, as that one does.

    Args:
        command: its name, which warnings begin with.
    """
    loggers = [logging.getLogger(name) for name in LOGGERS]
    if any(isinstance(handler, _Messages) for handler in loggers[0].handlers):
        yield
        return
    handler, levels = _Messages(command), [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
