"""One table of all repairs that a person can choose from: what each needs, takes and comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .bootstrap import MOST
from .little_evidence_tables import last_bundle
from .markdown_table import markdown_table
from .victim_tables import OURS, Results, mean_and_worst, score

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Attempt:
    """One method on one victim.

    Attributes:
        baseline: of the victim.
        figures: after the repair; those of the baseline where the method gave none.
        repaired: whether it gave any.
        seconds: that it took; None where they were not measured.
    """

    baseline: Mapping[str, float]
    figures: Mapping[str, float]
    repaired: bool
    seconds: float | None


def methods_table(
    victims: Sequence[Results], pools: Sequence[Row], clean_only: Sequence[Row]
) -> str:
    """Return the table, the methods that need most evidence first."""
    headings = [
        "command",
        "what you need",
        "victims (of these left as they were)",
        "RA / ceiling: mean (worst)",
        "BA change: mean (worst)",
        "ASR above natural: mean (worst)",
        "seconds: median (most)",
    ]
    triggered = {
        "200 triggered images and their clean partners": "paired 200",
        "20 of each": "paired 20",
        "100 triggered images, 200 clean ones of other content": "unpaired 100",
        "20 triggered images, 200 clean ones": "unpaired 20",
    }
    lines = []
    for need, evidence in triggered.items():
        lines.append(_line("`build --triggered`", need, _of_victims(victims, OURS, evidence)))
    for method in dict.fromkeys(row["method"] for row in pools):
        attempts = [_of_pool(row) for row in pools if row["method"] == method]
        lines.append(_line(f"`build --pool --split-by {method}`", "2,000 images, mixed", attempts))
    searched = [row for row in clean_only if "baseline" in row]
    attempts = [_attempt(row["baseline"], row, row["seconds"]) for row in searched]
    lines.append(_line("`build --reconstruct all`", "500 clean images", attempts))
    for share in dict.fromkeys(s for row in searched for s in row.get("refined", {})):
        lines.append(
            _line(
                "`build --refine`",
                f"500 clean images, the bundle from these, and up to {MOST} of the requests that "
                f"it flagged where {float(share):.0%} are triggered",
                [
                    _attempt(row["baseline"], last_bundle(row, share), None)
                    for row in searched
                    if share in row.get("refined", {})
                ],
            )
        )
    clean = "2,000 labelled clean images, and leave to change the weights"
    sanitizers = (
        ("fine-tune", "fine_tuning", clean),
        ("retrain", "retraining", clean),
        ("patch", "patching", clean),
        ("patch", "patching_without_images", "leave to change the weights; no image"),
        ("prune", "pruning", clean),
        ("fine-prune", "fine_pruning", clean),
        (
            "orthogonalize",
            "orthogonalizing",
            "200 triggered images and their clean partners, 2,000 clean images, and leave to "
            "change the weights; whatever it costs (`--accuracy-loss 1`)",
        ),
    )
    for method, name, need in sanitizers:
        attempts = _of_victims(victims, name, "paired 200")
        lines.append(_line(f"`sanitize --method {method}`", need, attempts))
    return markdown_table(headings, [line for line in lines if line])


def _line(command: str, need: str, attempts: Sequence[Attempt]) -> list[str]:
    """Return the cells of a line of the table, none where nothing was measured."""
    if not attempts:
        return []
    scores = [score(each.baseline, each.figures) for each in attempts]
    seconds = [each.seconds for each in attempts if each.seconds is not None]
    left = sum(not each.repaired for each in attempts)
    return [
        command,
        need,
        f"{len(attempts)} ({left})",
        *mean_and_worst(scores),
        f"{median(seconds):.0f} ({max(seconds):.0f})" if seconds else "",
    ]


def _attempt(baseline: Mapping[str, float], row: Row, seconds: float | None) -> Attempt:
    return Attempt(baseline, row.get("figures", baseline), "figures" in row, seconds)


def _of_victims(victims: Sequence[Results], defence: str, evidence: str) -> list[Attempt]:
    """Return what a defence came to with the first draw of the evidence."""
    return [
        _attempt(victim["baseline"], run, run.get("build_seconds"))
        for victim in victims
        for run in victim["runs"]
        if (run["defence"], run["evidence"], run["seed"]) == (defence, evidence, 0)
        and "not_applicable" not in run
    ]


def _of_pool(row: Row) -> Attempt:
    mixed = row["mixed"]
    times = [mixed.get(name) for name in ("split_seconds", "build_seconds")]
    seconds = sum(times) if None not in times else None
    return _attempt(row["baseline"], mixed, seconds)
