"""The arguments that set the hyper-parameters of the searches for triggers."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ...common.names import (
    ANOMALY_INDEX,
    FURTHER_ANOMALY_INDEX,
    INSPECTIONS,
    LEVELS,
    SEARCHES,
    Search,
)
from ..refusal import Refusal
from .values import above_zero, at_least

if TYPE_CHECKING:
    from ...reconstruct.settings import SearchSettings

BOUNDED = [name for name, search in SEARCHES.items() if search.bound is not None]
PATCHING = [name for name, search in SEARCHES.items() if search.patch_share is not None]


def add_search_arguments(parser: argparse.ArgumentParser, *, to_the_end: bool) -> None:
    """Add the flags, as a group of their own.

    Args:
        parser: of the command.
        to_the_end: False where the command compares classes, and searches for none to the end.
    """
    group = parser.add_argument_group(
        "searches for triggers",
        "Their hyper-parameters; each method has its own where nothing is given. Once a class "
        "stands out, build reconstructs with 0.6 to 1.4 times the bound, or the share.",
    )
    group.add_argument(
        "--bound",
        type=above_zero(LEVELS),
        metavar="LEVELS",
        help="of generated, additive, smooth, feature-space and sinusoidal: root mean square of "
        "what they may change, in 255ths of the range of the inputs; of additive-linf: the most "
        f"that it may change any value (default: {_listed(BOUNDED, 'bound')}); one value for all "
        "that are run. Less leads nowhere, more leads to any class: where nothing is found, try "
        "others",
    )
    group.add_argument(
        "--patch-share",
        type=above_zero(1),
        metavar="SHARE",
        help="of abs: share of the image that its patch may cover "
        f"(default: {_listed(PATCHING, 'patch_share')})",
    )
    group.add_argument(
        "--screening-steps",
        type=at_least(1),
        metavar="N",
        help="steps of the search for each class, by which the classes are compared "
        f"(default: {_listed(SEARCHES, 'screening')})",
    )
    group.add_argument(
        "--anomaly-index",
        type=above_zero(),
        metavar="X",
        help="a class whose anomaly index exceeds it stands out, if its trigger works (default: "
        f"{ANOMALY_INDEX:g}); of a further class, build asks {FURTHER_ANOMALY_INDEX:g} by default",
    )
    if to_the_end:
        group.add_argument(
            "--steps",
            type=at_least(1),
            metavar="N",
            help="steps in all of a search for the class that stands out, or for the --target "
            f"(default: {_listed(SEARCHES, 'steps')})",
        )
    else:
        parser.set_defaults(steps=None)


def check_search_arguments(args: argparse.Namespace, methods: Sequence[str]) -> None:
    """Refuse flags that no search takes, or that no search can follow.

    Args:
        args: of the command.
        methods: those that were asked for, searches or others.

    Raises:
        Refusal: naming the flag.
    """
    asked_for = [name for name in methods if name in SEARCHES]
    # What a method of another package takes is not known here.
    added = not set(methods).issubset(INSPECTIONS)
    for flag, value, takers in (
        ("--bound", args.bound, BOUNDED),
        ("--patch-share", args.patch_share, PATCHING),
        ("--screening-steps", args.screening_steps, SEARCHES),
        ("--steps", args.steps, SEARCHES),
        ("--anomaly-index", args.anomaly_index, SEARCHES),
    ):
        if value is not None and not added and not set(takers).intersection(asked_for):
            raise Refusal(
                f"{flag} {value:g}: expected beside a search for triggers that takes it: "
                f"{', '.join(takers)}"
            )
    for name in asked_for if args.steps is not None else ():
        screening = _screening(SEARCHES[name], args.screening_steps)
        if args.steps < screening:
            raise Refusal(
                f"--steps {args.steps}: expected at least the {screening} steps in which {name} "
                "compares the classes; --screening-steps lowers these"
            )


def read_search_settings(args: argparse.Namespace) -> SearchSettings:
    """Return what the flags set."""
    from ...reconstruct.settings import SearchSettings

    return SearchSettings(
        bound=None if args.bound is None else args.bound / LEVELS,
        patch_share=args.patch_share,
        screening_steps=args.screening_steps,
        steps=args.steps,
        anomaly_index=args.anomaly_index,
    )


def _screening(search: Search, given: int | None) -> int:
    return search.screening if given is None else int(min(given, search.whole))


def _listed(names: Iterable[str], value: str) -> str:
    return ", ".join(f"{name} {getattr(SEARCHES[name], value):g}" for name in names)
