"""The table of how often `screen` finds triggered pictures, and how often clean ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .markdown_table import markdown_table

Row = Mapping[str, Any]

NUMBERS = ("1", "10", "30")
KINDS = {
    "triggered": "triggered",
    "same": "clean, called the same",
    "mixed": "clean, of all classes",
    "mistakes": "mistakes, called the same",
}
LOOKED_AT = (
    "adaptive_patch-resnet",
    "blended-vit",
    "low_frequency-mobilenet",
    "tact-resnet",
    "zoo-badnets",
    "zoo-wanet",
)
"""Victims by whose development images the method was chosen."""


def screening_table(rows: Sequence[Row]) -> str:
    """Return the shares of sets of 1, 10 and 30 pictures that are found, in percent."""
    headings = ["victim", *KINDS.values()]
    lines = []
    for row in sorted(rows, key=lambda r: r["victim"]):
        name = row["victim"] + ("*" if row["victim"] in LOOKED_AT else "")
        lines.append([name, *(_cell([row], kind) for kind in KINDS)])
    if not rows:
        return markdown_table(headings, lines)
    lines += _all(rows)
    return markdown_table(headings, lines) + f"\n{_count(rows)}\n"


def screening_summary(rows: Sequence[Row]) -> str:
    """Return the last lines of that table alone."""
    return markdown_table(["victims", *KINDS.values()], _all(rows) if rows else [])


def _all(rows: Sequence[Row]) -> list[list[str]]:
    others = [row for row in rows if row["victim"] not in LOOKED_AT]
    groups = {f"all {len(rows)}": rows, f"the {len(others)} that nobody had looked at": others}
    return [[name, *(_cell(of, kind) for kind in KINDS)] for name, of in groups.items()]


def _cell(rows: Sequence[Row], kind: str) -> str:
    return " / ".join(_share(rows, kind, number) for number in NUMBERS)


def _share(rows: Sequence[Row], kind: str, number: str) -> str:
    """Return the share of all sets that is found, in percent; empty where there are none."""
    sets = [row["kinds"][kind][number] for row in rows if number in row["kinds"].get(kind, {})]
    total = sum(each["sets"] for each in sets)
    if total == 0:
        return "-"
    return f"{100 * sum(each['found'] * each['sets'] for each in sets) / total:.1f}"


def _count(rows: Sequence[Row]) -> str:
    """Return how many sets there were, and how many could not be told, as a sentence."""
    every = [each for row in rows for kind in row["kinds"].values() for each in kind.values()]
    not_told = round(sum(each["not_told"] * each["sets"] for each in every))
    draws, clean = rows[0]["draws"], rows[0]["clean"]
    return (
        f"{draws} draws of {clean} clean samples, the same for all victims: an unlucky one counts "
        "in several rows. Of "
        f"{sum(each['sets'] for each in every)} sets of pictures in all, {not_told} could not be "
        "told."
    )
