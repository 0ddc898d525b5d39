"""The arguments that set the hyper-parameters of the searches for triggers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...reconstruct.settings import SearchSettings


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
        type=float,
        metavar="LEVELS",
        help="of generated, additive, smooth, feature-space and sinusoidal: root mean square of "
        "what they may change, in 255ths of the range of the inputs; of additive-linf: the most "
        "that it may change any value (default: generated 7, additive 7, additive-linf 5, smooth "
        "14, feature-space 7, sinusoidal 40); one value for all that are run. Less leads "
        "nowhere, more leads to any class: where nothing is found, try others",
    )
    group.add_argument(
        "--patch-share",
        type=float,
        metavar="SHARE",
        help="of abs: share of the image that its patch may cover (default: abs 0.02)",
    )
    group.add_argument(
        "--screening-steps",
        type=int,
        metavar="N",
        help="steps of the search for each class, by which the classes are compared (default: "
        "generated 60, additive 30, additive-linf 30, smooth 30, neural-cleanse 120, tabor 120, "
        "abs 60, deepinspect 300, feature-space 60, sinusoidal 64)",
    )
    group.add_argument(
        "--anomaly-index",
        type=float,
        metavar="X",
        help="a class whose anomaly index exceeds it stands out, if its trigger works (default: "
        "4); of a further class, build asks 5 by default",
    )
    if to_the_end:
        group.add_argument(
            "--steps",
            type=int,
            metavar="N",
            help="steps in all of a search for the class that stands out, or for the --target "
            "(default: generated 120, additive 60, additive-linf 60, smooth 60, neural-cleanse "
            "200, tabor 200, abs 120, deepinspect 400, feature-space 120, sinusoidal 80)",
        )
    else:
        parser.set_defaults(steps=None)


def read_search_settings(args: argparse.Namespace, methods: Sequence[str]) -> SearchSettings:
    """Return what the flags set, after checking it.

    Args:
        args: of the command.
        methods: those that were asked for, searches or others.

    Raises:
        ArgumentError: a number is out of its range, or no search that was asked for takes it.
    """
    from ...common.errors import ArgumentError
    from ...reconstruct import input_box
    from ...reconstruct.methods import LEVELS, SEARCH_METHODS, SHARE
    from ...reconstruct.settings import SearchSettings
    from .checks import check_positive

    searches = [name for name in methods if name in SEARCH_METHODS]
    bounded = {
        unit: [name for name, method in SEARCH_METHODS.items() if method.unit == unit]
        for unit in (LEVELS, SHARE)
    }
    for flag, value, most, takers in (
        ("--bound", args.bound, input_box.LEVELS, bounded[LEVELS]),
        ("--patch-share", args.patch_share, 1, bounded[SHARE]),
        ("--screening-steps", args.screening_steps, None, SEARCH_METHODS),
        ("--steps", args.steps, None, SEARCH_METHODS),
        ("--anomaly-index", args.anomaly_index, None, SEARCH_METHODS),
    ):
        if value is None:
            continue
        check_positive(flag, value, most)
        if not set(takers).intersection(searches):
            raise ArgumentError(
                f"{flag} {value:g}: expected beside a search for triggers that takes it: "
                f"{', '.join(takers)}"
            )
    settings = SearchSettings(
        bound=None if args.bound is None else args.bound / input_box.LEVELS,
        patch_share=args.patch_share,
        screening_steps=args.screening_steps,
        steps=args.steps,
        anomaly_index=args.anomaly_index,
    )
    for name in searches:
        method = settings.method(name)
        if method.steps < method.screening:
            raise ArgumentError(
                f"--steps {method.steps}: expected at least the {method.screening} steps in which "
                f"{name} compares the classes; --screening-steps lowers these"
            )
    return settings
