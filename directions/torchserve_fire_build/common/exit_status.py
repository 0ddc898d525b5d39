"""The exit statuses of all commands; docs/reference/exit-statuses.md has them as a table."""

from __future__ import annotations

from torchserve_fire.errors import FireError

from .errors import NoTriggerError, UndecidedError

DONE = 0
ALARM = 1
"""What to act on: a trigger was found, a server is not ready, a file is not signed."""
UNDECIDED = 2
"""The samples, or the time, do not tell whether there is a trigger."""
NO_TRIGGER = 3
"""There is no trigger to repair, so nothing was written."""
REFUSED = 64
"""Bad input, or what a command needs is not there: EX_USAGE of sysexits.h, and no finding's."""
INTERRUPTED = 130
CLOSED_PIPE = 141
"""As of a command that SIGPIPE has ended."""


def status_of_finding(found: bool | None) -> int:
    """Return the status of what was found; None: nobody can tell."""
    return {False: DONE, True: ALARM, None: UNDECIDED}[found]


def status_of_error(error: FireError) -> int:
    """Return the status of a command that an error has ended."""
    if isinstance(error, NoTriggerError):
        return NO_TRIGGER
    return UNDECIDED if isinstance(error, UndecidedError) else REFUSED
