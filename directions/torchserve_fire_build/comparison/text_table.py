"""The comparison as text, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten

from ..measure.figures import class_list, interval
from .cells import build_seconds, passes, percent, shares, time_ratio, with_interval
from .summary import Row, Summary

HEADER = ("", "BA", "ASR", "RA", "build s", "passes", "time")

REMARK = 100
"""Characters of why figures are missing, about; the other tables have all of it."""

NOTES = (
    "BA, ASR and RA in percent, means over the draws, with 95 % intervals: of which samples are",
    "measured on (Wilson), and of which samples a draw takes (Student), together",
    "passes: forward passes of a request, clean / triggered",
    "time: of a clean request, as a multiple of that without any defence",
)


def text_table(summary: Summary) -> list[str]:
    """Return the lines."""
    rows = [HEADER, *map(_cells, summary.rows)]
    full = [row for row in rows if len(row) >= len(HEADER)]
    widths = [max(len(row[i]) for row in full) for i in range(len(HEADER))]
    widths[0] = max(len(row[0]) for row in rows)
    lines = [_line(row, widths) for row in rows]
    return [*describe(summary), "", *(line.rstrip() for line in lines), "", *NOTES]


def describe(summary: Summary) -> list[str]:
    """Return what was built from what, and measured on what."""
    subject, before = summary.subject, summary.before
    calibration, test = subject.calibration, subject.test.evidence
    clean, triggered = summary.drawn
    partners = "with their clean partners" if calibration.paired else f"and {clean} clean ones"
    where = (
        "half of what was given, held out"
        if subject.held_out
        else f"{test.clean.source} and {test.triggered.source}"
    )
    natural = "natural rate ?"
    if before.natural_rate is not None:
        low, high = interval(before.natural_rate[0], before.natural_count)
        natural = (
            f"natural rate {percent(before.natural_rate[0])} ({100 * low:.1f} to "
            f"{100 * high:.1f}): clean samples of other classes, called so anyway"
        )
    ceiling = (
        "ceiling of RA: not known, for the triggered samples have no clean partners"
        if before.ceiling is None
        else f"ceiling of RA {percent(before.ceiling)}: accuracy on the clean partners"
    )
    return [
        f"trigger of {class_list(subject.targets)}"
        + ("" if subject.single or len(subject.targets) > 1 else ", and others"),
        f"built from: {summary.draws} draw{'s' if summary.draws > 1 else ''} of {triggered} of "
        f"{len(calibration.triggered)} triggered samples, {partners}; defences that train also get "
        f"all {len(calibration.clean)} clean ones",
        f"measured on: {before.counts[0]} clean samples, {before.counts[1]} triggered ones of "
        f"other classes, that no defence saw ({where})",
        natural,
        ceiling,
    ]


def _cells(row: Row) -> tuple[str, ...]:
    remark = shorten(row.remark, REMARK, placeholder=" ...")
    if not row.measured:
        return row.name, remark
    shown = (
        row.name,
        *map(with_interval, shares(row)),
        build_seconds(row),
        passes(row),
        time_ratio(row),
    )
    return (*shown, remark) if remark else shown


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *others = cells
    first = f"{name:{widths[0]}}"
    if len(cells) == 2:
        return f"{first}  {others[0]}"
    numbers = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=False)]
    return "  ".join([first, *numbers, *others[len(widths) - 1 :]])
