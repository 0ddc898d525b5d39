"""The table of repaired classifiers of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from .markdown_table import markdown_table

Row = Mapping[str, Any]

BARS = {"paired 100": 0.98, "unpaired 100": 0.97, "unpaired 20": 0.93}
"""The least share of the ceiling that is to be recovered, by the evidence."""

HEADINGS = (
    "trigger",
    "evidence",
    "draws",
    "BA",
    "ASR",
    "natural",
    "RA",
    "ceiling",
    "RA / ceiling",
    "least",
    "bar",
    "clean flagged",
    "with words of no meaning",
)


def text_table(rows: Sequence[Row]) -> str:
    """Return the means over the draws of each trigger, by the evidence; misses are bold."""
    lines = []
    for trigger in dict.fromkeys(row["trigger"] for row in rows):
        for evidence, bar in BARS.items():
            of_both = [r for r in rows if (r["trigger"], r["evidence"]) == (trigger, evidence)]
            if of_both:
                lines.append([trigger, evidence, *_cells(of_both, bar)])
    return markdown_table(HEADINGS, lines)


def _cells(rows: Sequence[Row], bar: float) -> list[str]:
    shares = [row["RA"] / row["ceiling"] for row in rows]
    mean = fmean(shares)
    return [
        str(len(rows)),
        _change(rows, "BA"),
        _change(rows, "ASR"),
        _percent(rows, "natural"),
        _percent(rows, "RA"),
        _percent(rows, "ceiling"),
        f"{mean:.3f}" if mean >= bar else f"**{mean:.3f}**",
        f"{min(shares):.3f}",
        f"{bar:.2f}",
        _percent(rows, "flagged clean"),
        _percent(rows, "accuracy beside nothing"),
    ]


def _change(rows: Sequence[Row], name: str) -> str:
    return f"{_percent(rows, f'{name} before')} → {_percent(rows, name)}"


def _percent(rows: Sequence[Row], name: str) -> str:
    return f"{100 * fmean(row[name] for row in rows):.1f}"
