"""The table of what `inspect` says of the victims and of their benign twins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .markdown_table import markdown_table

Row = Mapping[str, Any]


def inspecting_table(rows: Sequence[Row]) -> str:
    """Return the verdict on each model, that of each method beside it."""
    methods = list(dict.fromkeys(run["method"] for row in rows for run in row["methods"]))
    headings = ["model", "target", "verdict", *methods, "seconds"]
    lines = []
    for row in sorted(rows, key=lambda r: (not r["backdoored"], r["victim"])):
        target = "several" if row["target"] is None else str(row["target"])
        runs = {run["method"]: run for run in row["methods"]}
        lines.append(
            [
                row["victim"],
                target if row["backdoored"] else "none",
                _verdict(row),
                *(_verdict(run) + _largest(run) for run in map(runs.get, methods)),
                f"{sum(run['seconds'] for run in runs.values()):.0f}",
            ]
        )
    table = markdown_table(headings, lines)
    if not rows:
        return table
    counts = [_count("All together", rows)]
    for method in methods:
        of_method = [
            {**row, "found": run["found"], "suspects": run["suspects"]}
            for row in rows
            for run in row["methods"]
            if run["method"] == method
        ]
        counts.append(_count(f"`{method}`", of_method))
    return "\n".join([table, *counts]) + "\n"


def _verdict(findings: Row | None) -> str:
    if findings is None:
        return ""
    if findings["found"] is None:
        return "could not tell"
    return ", ".join(map(str, findings["suspects"])) or ("found" if findings["found"] else "none")


def _largest(run: Row | None) -> str:
    return "" if run is None or run["index"] is None else f" ({max(run['index']):.1f})"


def _count(name: str, rows: Sequence[Row]) -> str:
    """Return how many verdicts are right, as a list's item."""
    backdoored = [row for row in rows if row["backdoored"]]
    benign = [row for row in rows if not row["backdoored"]]
    one = [row for row in backdoored if row["target"] is not None]
    found = sum(row["found"] is True for row in backdoored)
    named = sum(row["suspects"][:1] == [row["target"]] for row in one)
    clear = sum(row["found"] is False for row in benign)
    return (
        f"- {name}: {found} of {len(backdoored)} victims are found out. The target is the first "
        f"suspect in {named} of the {len(one)} with one. Nothing is found in {clear} of "
        f"{len(benign)} benign models."
    )
