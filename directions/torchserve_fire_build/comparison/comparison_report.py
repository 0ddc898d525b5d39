"""The report on a comparison of defences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..report.html_report import Report, Table
from .cells import build_seconds, passes, shares, time_ratio, with_interval
from .json_table import json_values
from .summary import Row, Summary
from .text_table import HEADER, NOTES, describe


def comparison_report(summary: Summary, title: str, provenance: Mapping[str, str]) -> Report:
    """Return the report.

    Args:
        summary: the whole comparison.
        title: what was compared.
        provenance: what it takes to do it again.
    """
    table = Table(
        "Defences", (*HEADER, "remark"), list(map(_cells, summary.rows)), _sentences(NOTES)
    )
    return Report(
        title,
        _verdict(summary),
        "plain",
        [table, Table("What was measured", ("",), [(line,) for line in describe(summary)])],
        json_values(summary),
        provenance,
    )


def _verdict(summary: Summary) -> str:
    measured = [row for row in summary.rows if row.measured]
    if not measured:
        return "No defence could be measured."
    best = max(measured, key=lambda row: row.recovered_accuracy.mean)
    clean, attack, recovered = (f"{100 * each.mean:.1f} %" for each in shares(best))
    return (
        f"Most triggered samples get their true class with {best.name}: RA is {recovered}, "
        f"beside an ASR of {attack} and a BA of {clean}."
    )


def _cells(row: Row) -> tuple[str, ...]:
    if not row.measured:
        return (row.name, *[""] * (len(HEADER) - 1), row.remark)
    figures = (*map(with_interval, shares(row)), build_seconds(row), passes(row), time_ratio(row))
    return (row.name, *figures, row.remark)


def _sentences(notes: Sequence[str]) -> str:
    return "; ".join(notes)
