"""The argument that names the searches for triggers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

from ...common.names import ALL_SEARCHES, OTHERWISE, SEARCHES, SEARCHES_ADDED, Choices


class Searches(NamedTuple):
    """The searches for triggers that `--reconstruct` asks for.

    Attributes:
        methods: that are used.
        otherwise: that are used, too, where these find nothing.
    """

    methods: Sequence[str] = ()
    otherwise: Sequence[str] = ()


def add_reconstruct_argument(parser: argparse._ActionsContainer, help: str) -> None:
    """Add the flag; `help` says what is done with the triggers."""
    parser.add_argument(
        "--reconstruct",
        choices=Choices(("all", *SEARCHES), SEARCHES_ADDED),
        metavar="NAME",
        help=f"{help}. One of all, {', '.join(SEARCHES)}, or of what an installed package adds",
    )


def searches(reconstruct: str | None) -> Searches:
    """Return what `--reconstruct` asks for; nothing without it."""
    if reconstruct is None:
        return Searches()
    if reconstruct == "all":
        return Searches(ALL_SEARCHES, OTHERWISE)
    return Searches([reconstruct])
