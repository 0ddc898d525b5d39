"""What each search of a scan is worth: verdicts without what it found.

    python -m benchmarks.scanning_ablation

From the committed scans. Each model is judged by fits that never saw it, made without the search,
too. Which classes are searched one by one stays as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from torchserve_fire_build.scan.evidence import NAMES
from torchserve_fire_build.scan.findings import FREELY, PLACES, STEPS, TURNS

from .kept import write_json
from .markdown_table import markdown_table
from .scanning import RESULTS as SCANS
from .scanning_fit import verdict_rows

RESULTS = SCANS.with_name("scanning_ablation.json")

Row = Mapping[str, Any]


def main() -> None:
    """Judge all scans without each search, and write how many are right."""
    rows = json.loads(SCANS.read_text())
    results: list[dict[str, Any]] = []
    for name in tqdm((None, *NAMES), desc="without each search"):
        left = rows if name is None else [without(row, name) for row in rows]
        results += counts_of(name, verdict_rows(left))
    write_json(results, RESULTS)


def without(row: Row, name: str) -> dict[str, Any]:
    """Return the row of a scan in which one search found nothing.

    Args:
        row: from `benchmarks.scanning`.
        name: of the search, in `NAMES`.
    """
    found = dict(row)
    if name == PLACES:
        found["places"] = {}
    elif name == TURNS:
        found["turned"] = []
    elif name in STEPS:
        found["comparisons"] = {m: c for m, c in row["comparisons"].items() if m != name}
    else:
        (kind,) = (kind for kind in FREELY if name == f"anywhere, {kind}")
        found["leads"] = [lead for lead in row["leads"] if lead[0] != kind]
    return found


def counts_of(name: str | None, verdicts: Sequence[Row]) -> list[dict[str, Any]]:
    """Return, for each number of images, how many victims with targets and benign models are right.

    Args:
        name: of the search that was left out; None if none was.
        verdicts: from `scanning_fit.verdict_rows`.
    """
    results = []
    for count in sorted({row["count"] for row in verdicts}):
        of_count = [row for row in verdicts if row["count"] == count]
        victims = [row for row in of_count if row["targets"]]
        benign = [row for row in of_count if not row["backdoored"]]
        results.append(
            {
                "without": name,
                "count": count,
                "victims": len(victims),
                "first": sum(row["named"][:1] in [[t] for t in row["targets"]] for row in victims),
                "further": sum(len({*row["named"]} - {*row["targets"]}) for row in victims),
                "benign": len(benign),
                "alarms": sum(row["found"] is True for row in benign),
            }
        )
    return results


def scanning_ablation_table(rows: Sequence[Row]) -> str:
    """Return a line for each search that was left out, the whole scan first."""
    # With some numbers of images, benign models alone were scanned.
    counts = sorted({row["count"] for row in rows if row["victims"]})
    headings = ["without"]
    for count in counts:
        headings += [f"{count} images: target named first", "further classes", "false alarms"]
    lines = []
    for name in dict.fromkeys(row["without"] for row in rows):
        line = [name or "nothing"]
        for count in counts:
            (row,) = (r for r in rows if (r["without"], r["count"]) == (name, count))
            line += [
                f"{row['first']} of {row['victims']}",
                str(row["further"]),
                f"{row['alarms']} of {row['benign']}",
            ]
        lines.append(line)
    return markdown_table(headings, lines)


if __name__ == "__main__":
    main()
