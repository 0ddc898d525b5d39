"""The comparison as CSV, a line for each defence."""

from __future__ import annotations

import csv
import io

from .cells import shares
from .summary import Row, Summary

FIGURES = ("clean_accuracy", "attack_success_rate", "recovered_accuracy")
COSTS = ("build_seconds", "passes_clean", "passes_triggered", "time_ratio")
FLAGGED = ("flagged_clean", "flagged_triggered")
HEADER = (
    "defence",
    *(name + part for name in FIGURES for part in ("", "_low", "_high")),
    *FLAGGED,
    *COSTS,
    "natural_rate",
    "ceiling",
    "draws",
    "remark",
)


def csv_table(summary: Summary) -> str:
    """Return the text of the file; shares are in [0, 1], and what is not known is empty."""
    before = summary.before
    natural = None if before.natural_rate is None else before.natural_rate[0]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for row in summary.rows:
        writer.writerow([*_figures(row), natural, before.ceiling, len(row.measured), row.remark])
    return text.getvalue()


def _figures(row: Row) -> list[str | float | None]:
    if not row.measured:
        return [row.name, *[None] * (3 * len(FIGURES) + len(FLAGGED) + len(COSTS))]
    ends = [end for each in shares(row) for end in (each.mean, *each.within)]
    return [row.name, *ends, *(row.average(name) for name in (*FLAGGED, *COSTS))]
