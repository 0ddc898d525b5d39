"""How the commands that start a server end: nothing is left running, and a failure is one line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torchserve_fire.errors import FireError


@contextmanager
def ended_in_one_line(command: str) -> Iterator[None]:
    """Run a block such that whatever stops it is printed in one line.

    Raises:
        SystemExit: it failed with a FireError, or was interrupted; by SIGTERM and SIGHUP as by
            Ctrl-C, so that servers end with it.
    """
    # SIGINT, too: in the background of a shell it is ignored.
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.default_int_handler)
    try:
        yield
    except FireError as error:
        sys.exit(f"{command}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{command}: interrupted")
