"""The tables of what the default of `inspect` says of victims and of benign models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from torchserve_fire_build.scan.evidence import evidence_of, followed_by
from torchserve_fire_build.scan.verdict import judge

from .markdown_table import markdown_table
from .scanning_fit import scan_of

Row = Mapping[str, Any]

WORDS = {True: "each another", False: "none", None: "unsure"}
"""What is said where no class is named."""

BOUNDS = (0.05, 0.2, 0.5, 0.9, 0.99, 1.01)
"""Of probabilities that are counted together."""

THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.99)


def scanning_table(rows: Sequence[Row]) -> str:
    """Return the verdict on each model, by the number of clean images it was judged with."""
    counts = sorted({row["count"] for row in rows})
    headings = ["model", "classes", "targets", *(f"{count} images" for count in counts), "seconds"]
    lines = []
    for name in sorted({row["victim"] for row in rows}, key=lambda n: (_benign(rows, n), n)):
        of_model = [row for row in rows if row["victim"] == name]
        lines.append(
            [
                name,
                str(of_model[0]["classes"]),
                _targets(of_model[0]),
                *(_cell([row for row in of_model if row["count"] == count]) for count in counts),
                f"{median(row['cpu_seconds'] for row in of_model):.0f}",
            ]
        )
    return markdown_table(headings, lines)


def unseen_table(rows: Sequence[Row]) -> str:
    """Return the verdict of the shipped fit on each scan.

    Args:
        rows: of `benchmarks.scanning`, not of verdicts.
    """
    lines = []
    for row in rows:
        scan = scan_of(row)
        verdict = judge(evidence_of(scan), row["count"], followed_by(scan))
        named = ", ".join(map(str, verdict.targets)) or WORDS[verdict.found]
        lines.append(
            [
                row["victim"],
                _targets(row),
                str(row["count"]),
                f"{named} ({verdict.probability:.2f})",
                f"{row['cpu_seconds']:.0f}",
            ]
        )
    return markdown_table(["model", "targets", "images", "named", "seconds"], lines)


def scanning_summary(rows: Sequence[Row]) -> str:
    """Return the shares of scans that are right, by the number of images."""
    headings = [
        "clean images",
        "benign: scans (models)",
        "false alarms",
        "could not tell",
        "one target: scans (models)",
        "found",
        "a target named first",
        "could not tell",
        "all-to-all: scans (models)",
        "found",
    ]
    lines = []
    for count in sorted({row["count"] for row in rows}):
        benign = [row for row in rows if row["count"] == count and not row["backdoored"]]
        victims = [row for row in rows if row["count"] == count and row["targets"]]
        each = [row for row in rows if row["count"] == count and row["targets"] is None]
        lines.append(
            [
                str(count),
                f"{len(benign)} ({len({row['victim'] for row in benign})})",
                str(sum(row["found"] is True for row in benign)),
                str(sum(row["found"] is None for row in benign)),
                f"{len(victims)} ({len({row['victim'] for row in victims})})",
                str(sum(row["found"] is True for row in victims)),
                str(sum(row["named"][:1] in [[t] for t in row["targets"]] for row in victims)),
                str(sum(row["found"] is None for row in victims)),
                f"{len(each)} ({len({row['victim'] for row in each})})",
                str(sum(row["found"] is True for row in each)),
            ]
        )
    return markdown_table(headings, lines)


def roc_table(rows: Sequence[Row]) -> str:
    """Return how many benign models and victims reach each probability, over all draws."""
    benign = [row for row in rows if not row["backdoored"]]
    victims = [row for row in rows if row["targets"]]
    lines = [
        [f"{threshold:.2f}", _share(benign, threshold), _share(victims, threshold)]
        for threshold in THRESHOLDS
    ]
    headings = ["named from a probability of", "benign models: alarms", "victims: found"]
    return markdown_table(headings, lines)


def reliability_table(rows: Sequence[Row]) -> str:
    """Return how many classes of which probability are a target, over all draws."""
    found = [
        (probability, int(target) in (row["targets"] or []))
        for row in rows
        if row["targets"] is not None
        for target, probability in row["of_classes"].items()
    ]
    lines = []
    for least, most in pairwise(BOUNDS):
        within = [pair for pair in found if least <= pair[0] < most]
        if within:
            mean = sum(probability for probability, _ in within) / len(within)
            targets = sum(is_target for _, is_target in within)
            bounds = f"{least:.2f} to {min(1, most):.2f}"
            share = f"{targets} ({targets / len(within):.2f})"
            lines.append([bounds, str(len(within)), f"{mean:.2f}", share])
    return markdown_table(["probability of a class", "classes", "mean", "targets"], lines)


def scanning_growth_table(rows: Sequence[Row]) -> str:
    """Return the time of a scan by the number of classes, as multiples of that of the fewest."""
    least = rows[0]["cpu_seconds"] if rows else 1
    lines = [
        [str(row["classes"]), f"{row['cpu_seconds']:.0f}", f"{row['cpu_seconds'] / least:.2f}"]
        for row in rows
    ]
    return markdown_table(["classes", "seconds of CPU", "ratio"], lines)


def _share(rows: Sequence[Row], threshold: float) -> str:
    reached = sum(row["probability"] >= threshold for row in rows)
    return f"{reached} of {len(rows)} ({reached / max(1, len(rows)):.0%})"


def _benign(rows: Sequence[Row], name: str) -> bool:
    return not next(row["backdoored"] for row in rows if row["victim"] == name)


def _targets(row: Row) -> str:
    if not row["backdoored"]:
        return "none"
    return "each another" if row["targets"] is None else ", ".join(map(str, row["targets"]))


def _cell(rows: Sequence[Row]) -> str:
    cells = []
    for row in rows:
        said = ", ".join(map(str, row["named"])) or WORDS[row["found"]]
        cells.append(f"{said} ({row['probability']:.2f})")
    return "; ".join(cells)
