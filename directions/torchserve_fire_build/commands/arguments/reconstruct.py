"""The argument that names the searches for triggers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

from ...common.names import ALL_SEARCHES, OTHERWISE, SEARCHES


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
    parser.add_argument("--reconstruct", choices=("all", *SEARCHES), help=help)


def searches(reconstruct: str | None) -> Searches:
    """Return what `--reconstruct` asks for; nothing without it."""
    if reconstruct is None:
        return Searches()
    if reconstruct == "all":
        return Searches(ALL_SEARCHES, OTHERWISE)
    return Searches([reconstruct])
