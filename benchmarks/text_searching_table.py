"""The table of searches for triggers in classifiers of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .markdown_table import markdown_table

Row = Mapping[str, Any]

BAR = 0.9
"""The least share of the ceiling that is to be recovered with clean texts alone."""

WORDS = {True: "found", False: "nothing found", None: "could not tell"}
HEADINGS = (
    "trigger",
    "models",
    "verdict",
    "class",
    "tokens",
    "lead there",
    "probability",
    "BA",
    "ASR",
    "natural",
    "RA / ceiling",
)


def text_searching_table(rows: Sequence[Row]) -> str:
    """Return a row for each classifier; false alarms, misses and what is below `BAR` are bold."""
    return markdown_table(HEADINGS, [_cells(row) for row in rows])


def _cells(row: Row) -> list[str]:
    found, target = row["found"], row["target"]
    verdict = WORDS[found]
    if (found is not False and target is None) or (found is not True and target is not None):
        verdict = f"**{verdict}**"
    named = found is not False
    return [
        "none" if row["trigger"] is None else f"`{row['trigger']}`",
        row["part"],
        verdict,
        str(row["named"]) if named else "",
        f"`{' '.join(row['tokens'])}`" if named and row["tokens"] else "",
        f"{row['success']:.0%}" if named else "",
        f"{row['probability']:.3f}",
        *_repaired(row),
    ]


def _repaired(row: Row) -> list[str]:
    if "RA" not in row:
        return [row.get("no bundle", ""), "", "", ""]
    share = row["RA"] / row["ceiling"]
    return [
        f"{100 * row['BA before']:.1f} → {100 * row['BA']:.1f}",
        f"{100 * row['ASR before']:.1f} → {100 * row['ASR']:.1f}",
        f"{100 * row['natural']:.1f}",
        f"{share:.3f}" if share >= BAR else f"**{share:.3f}**",
    ]
