"""Entry point of the command `torchserve-fire`."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence

from ..common.exit_status import CLOSED_PIPE, INTERRUPTED, REFUSED, status_of_error
from . import COMMANDS
from .messages import show_messages
from .parser import OneLineParser, ShowVersion
from .refusal import Refusal

PROGRAM = "torchserve-fire"


def build_parser() -> OneLineParser:
    """Return the parser with one subparser for each command."""
    parser = OneLineParser(
        prog=PROGRAM,
        description="Repair backdoored image classifiers at inference time, inside TorchServe.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=ShowVersion)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parser.set_defaults(extras=(), check=_nothing_to_check)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status, as `common.exit_status` has it."""
    try:
        args = _read(sys.argv[1:] if argv is None else argv)
    except Refusal as refusal:
        return _refuse(refusal, PROGRAM)
    command = f"{PROGRAM} {args.command}"
    # A service manager stops us with SIGTERM, a closed terminal with SIGHUP: clean up exactly as
    # after Ctrl-C.
    for stop in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.default_int_handler)
    try:
        status = _run(args, command)
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        state = f"; {stop}" if stop.args else ""
        print(f"{command}: interrupted{state}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output, as `head` does, has enough of it; at exit it is flushed again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    return status


def run_command(words: Sequence[str]) -> int:
    """Run a command for another one; return its exit status.

    Raises:
        Refusal: the command line is not one.
        FireError: the command failed.
    """
    return _carry_out(_read(words))


def _read(words: Sequence[str]) -> argparse.Namespace:
    """Read a command line, and keep it, for reports."""
    return build_parser().parse_args(
        words, argparse.Namespace(command_line=shlex.join([PROGRAM, *words]))
    )


def _carry_out(args: argparse.Namespace) -> int:
    from torchserve_fire.errors import ModelError

    from ..common.environment import check_environment, require_extras

    require_extras(*args.extras)
    args.check(args)
    with show_messages(f"{PROGRAM} {args.command}"):
        try:
            status: int = args.run(args)
        except (ImportError, ModelError):
            # A missing package, or torch beside a foreign torchvision, is what a person can mend.
            check_environment()
            raise
    return status


def _run(args: argparse.Namespace, command: str) -> int:
    from torchserve_fire.errors import FireError

    try:
        return _carry_out(args)
    except Refusal as refusal:
        return _refuse(refusal, command)
    except FireError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return status_of_error(error)


def _refuse(refusal: Refusal, command: str) -> int:
    command = refusal.command or command
    print(f"{command}: {refusal} (see {command} --help)", file=sys.stderr)
    return REFUSED


def _nothing_to_check(args: argparse.Namespace) -> None:
    """Stand in for the check of a command that has none."""


if __name__ == "__main__":
    sys.exit(main())
