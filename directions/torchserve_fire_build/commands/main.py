"""Entry point of the command `torchserve-fire`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from . import COMMANDS

CLOSED_PIPE = 141
"""As of a command that SIGPIPE has ended; 1 would be a finding of `inspect`."""


class OneLineParser(argparse.ArgumentParser):
    """Tells what is wrong in one line, as everything else here does, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.refuse(self.prog, message)

    def refuse(self, command: str, message: str) -> NoReturn:
        """Exit with 2, and name the help of a command."""
        self.exit(2, f"{command}: {' '.join(message.split())} (see {command} --help)\n")


def build_parser() -> OneLineParser:
    """Return the parser with one subparser for each command."""
    parser = OneLineParser(
        prog="torchserve-fire",
        description="Repair backdoored image classifiers at inference time, inside TorchServe.",
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parser.set_defaults(extras=())
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status.

    0: done; 1: what the command's help says; 2: bad input, told in one line; 3: no trigger where
    one was searched for; 130: interrupted; 141: whoever read the output has closed it.
    """
    parser = build_parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        command = f"{parser.prog} {args.command}"
        parser.refuse(command, f"unrecognized arguments: {' '.join(unknown)}")
    # A service manager stops us with SIGTERM, a closed terminal with SIGHUP: clean up exactly as
    # after Ctrl-C.
    for stop in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.default_int_handler)
    try:
        # Not before: importing `handler` imports torch, and help should not wait for that.
        from torchserve_fire.errors import FireError

        from ..common.environment import require_extra
        from ..common.errors import NoTriggerError

        try:
            for extra in args.extras:
                require_extra(extra)
            status: int = args.run(args)
        except NoTriggerError as error:
            print(f"torchserve-fire {args.command}: {error}", file=sys.stderr)
            return 3
        except FireError as error:
            print(f"torchserve-fire {args.command}: {error}", file=sys.stderr)
            return 2
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"torchserve-fire {args.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output, as `head` does, has enough of it; at exit it is flushed again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    return status


if __name__ == "__main__":
    sys.exit(main())
