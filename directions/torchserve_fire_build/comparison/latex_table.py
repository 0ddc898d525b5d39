"""The comparison as a LaTeX tabular, which needs no package."""

from __future__ import annotations

from ..common.latex import escaped
from .cells import build_seconds, passes, percent, shares, time_ratio
from .summary import Estimate, Row, Summary
from .text_table import NOTES, describe

COLUMNS = 7


def latex_table(summary: Summary) -> str:
    """Return the text of the file; what was measured on what stands in its comments."""
    comments = [f"% {line}" for line in (*describe(summary), *NOTES)]
    lines = [
        *comments,
        r"\begin{tabular}{lrrrrrr}",
        r"\hline",
        r"defence & BA & ASR & RA & build (s) & passes & time \\",
        r"\hline",
        *(_line(row) for row in summary.rows),
        r"\hline",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    name = escaped(row.name)
    if not row.measured:
        return rf"{name} & \multicolumn{{{COLUMNS - 1}}}{{l}}{{{escaped(row.remark)}}} \\"
    costs = (build_seconds(row), passes(row), time_ratio(row))
    cells = [name, *map(_share, shares(row)), *costs]
    comment = f" % {row.remark}" if row.remark else ""
    return " & ".join(cells) + r" \\" + comment


def _share(each: Estimate) -> str:
    low, high = (f"{100 * end:.1f}" for end in each.within)
    return f"{percent(each.mean)} [{low}, {high}]"
