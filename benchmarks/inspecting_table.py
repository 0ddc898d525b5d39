"""The table of what `inspect` says of the victims and of their benign twins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .markdown_table import markdown_table

Row = Mapping[str, Any]


def inspecting_table(rows: Sequence[Row]) -> str:
    """Return the verdict on each model, that of each method beside it."""
    methods = [run["method"] for run in rows[0]["methods"]] if rows else []
    headings = ["model", "target", "verdict", *methods, "seconds"]
    lines = []
    for row in sorted(rows, key=lambda r: (not r["backdoored"], r["victim"])):
        target = "several" if row["target"] is None else str(row["target"])
        seconds = sum(run["seconds"] for run in row["methods"])
        lines.append(
            [
                row["victim"],
                target if row["backdoored"] else "none",
                _verdict(row),
                *(f"{_verdict(run)} ({_largest(run)})" for run in row["methods"]),
                f"{seconds:.0f}",
            ]
        )
    counts = [_count("All together", rows)]
    for i, method in enumerate(methods):
        counts.append(
            _count(f"`{method}`", [{**row, **_findings(row["methods"][i])} for row in rows])
        )
    return "\n".join([markdown_table(headings, lines), *counts]) + "\n"


def _verdict(findings: Row) -> str:
    if findings["found"] is None:
        return "could not tell"
    return ", ".join(map(str, findings["suspects"])) or ("found" if findings["found"] else "none")


def _largest(run: Row) -> str:
    return "-" if run["index"] is None else f"{max(run['index']):.1f}"


def _findings(run: Row) -> dict[str, Any]:
    return {"found": run["found"], "suspects": run["suspects"]}


def _count(name: str, rows: Sequence[Row]) -> str:
    """Return how many verdicts are right, as a list's item."""
    backdoored = [row for row in rows if row["backdoored"]]
    benign = [row for row in rows if not row["backdoored"]]
    one = [row for row in backdoored if row["target"] is not None]
    found = sum(row["found"] is True for row in backdoored)
    named = sum(row["suspects"][:1] == [row["target"]] for row in one)
    clear = sum(row["found"] is False for row in benign)
    return (
        f"- {name}: {found} of {len(backdoored)} victims are found out; the target is the first "
        f"suspect in {named} of the {len(one)} with one; nothing is found in {clear} of "
        f"{len(benign)} benign models"
    )
