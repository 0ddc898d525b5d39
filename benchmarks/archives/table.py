"""The table of how plain archives became repaired ones in production."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..markdown_table import markdown_table

Row = Mapping[str, Any]


def requests_table(rows: Sequence[Row]) -> str:
    """Return what became of the requests, a line for each archive."""
    headings = [
        "archive",
        "commands",
        "requests",
        "failed",
        "wrong",
        "answered by the plain / repaired archive",
        "form of the answers",
    ]
    lines = [
        [
            row["victim"],
            f"{len(row['commands'])}: {', '.join(row['commands'])}",
            f"{row['requests']:,}",
            str(row["failed"]),
            str(row["wrong"]),
            f"{row['answered plain']:,} / {row['answered repaired']:,}",
            "the same" if row["same form"] else "**changed**",
        ]
        for row in _in_order(rows)
    ]
    return markdown_table(headings, lines)


def archives_table(rows: Sequence[Row]) -> str:
    """Return the figures over HTTP, in percent, a line for each archive."""
    headings = [
        "archive",
        "test samples",
        "clean accuracy",
        "attack success rate",
        "natural rate",
        "recovered accuracy",
        "of the ceiling",
    ]
    lines = []
    for row in _in_order(rows):
        before, after = row["before"], row["after"]

        def change(name: str, before: Row = before, after: Row = after) -> str:
            return f"{100 * before[name]:.1f} → {100 * after[name]:.1f}"

        ceiling = before["clean_partners"]
        lines.append(
            [
                row["victim"],
                f"{row['test']:,}",
                change("clean_accuracy"),
                change("attack_success_rate"),
                change("natural_rate"),
                change("recovered_accuracy"),
                f"{after['recovered_accuracy'] / ceiling:.3f} of {100 * ceiling:.1f}",
            ]
        )
    return markdown_table(headings, lines)


def _in_order(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: str(row["victim"]))
