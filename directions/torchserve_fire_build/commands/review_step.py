"""What the review page runs in a process of its own: no command of `torchserve-fire`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from .messages import show_messages

COMMAND = "torchserve-fire review"


def main() -> int:
    """Do the job in the file that the command line names; return the exit status.

    It is as of the commands.
    """
    from torchserve_fire.errors import FireError

    from ..common.exit_status import DONE, INTERRUPTED, status_of_error
    from ..review.job import read_job, run_job

    for stop in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.default_int_handler)
    try:
        with show_messages(COMMAND):
            run_job(read_job(Path(sys.argv[1])))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except FireError as error:
        print(f"{error}", file=sys.stderr)
        return status_of_error(error)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
