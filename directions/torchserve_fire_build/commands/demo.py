"""`torchserve-fire demo`: the whole way once, on samples that a package brings or makes."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..common.names import DEMOS


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "demo",
        help="train, attack, repair and serve a small classifier, in about a minute",
        description="Train a small classifier with a trigger in its training data, build a bundle, "
        "pack a plain and a repaired archive, serve both with TorchServe on free loopback ports, "
        "and measure with real requests.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--kind",
        choices=tuple(DEMOS),
        default=next(iter(DEMOS)),
        help=f"{'; '.join(f'{name}: {what}' for name, what in DEMOS.items())} "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        metavar="DIR",
        help="folder for all that it writes, replaced by each demo (default: %(default)s)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the server up until Ctrl-C, to try it by hand"
    )
    parser.set_defaults(run=run, check=check, extras=("torchserve", "report"))


def check(args: argparse.Namespace) -> None:
    """Refuse a folder that is not a demo's own, before torch is loaded.

    Raises:
        FireError: it holds something else.
    """
    from ..demo.own_folder import check_own_folder

    check_own_folder(args.output)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..demo.run_demo import run_demo
    from .main import run_command

    run_demo(args.kind, args.output, run_command, keep=args.keep)
    return 0
