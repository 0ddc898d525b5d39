"""What the review page runs in a process of its own: no command of `torchserve-fire`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from .messages import show_messages

COMMAND = "torchserve-fire review"


def main() -> int:
    """Do the job in the file that the command line names; return the exit status.

    As of the commands, 2 is bad input, 3 no trigger, and 130 interrupted.
    """
    from torchserve_fire.errors import FireError

    from ..common.errors import NoTriggerError
    from ..review.job import read_job, run_job

    for stop in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.default_int_handler)
    try:
        with show_messages(COMMAND):
            run_job(read_job(Path(sys.argv[1])))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except FireError as error:
        print(f"{error}", file=sys.stderr)
        return 3 if isinstance(error, NoTriggerError) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
