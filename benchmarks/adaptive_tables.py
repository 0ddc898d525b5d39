"""The table of what attackers come to who send requests, and know the model or the bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .markdown_table import markdown_table

Row = Mapping[str, Any]
Figures = Mapping[str, float]


def perturbed_table(rows: Sequence[Row]) -> str:
    """Return what perturbations come to, in percent; by one who knows the model or the bundle."""
    headings = [
        "victim",
        "radius, of 255",
        "model known, no trigger",
        "to pass unflagged: trigger",
        "no trigger",
        "to survive the repair: trigger",
        "no trigger",
        "the trigger adds",
    ]
    lines = []
    for row in rows:
        for radius in sorted(row["radii"], key=int):
            found = row["radii"][radius]
            plain, pairs = found["adversarial"], [found["unflagged"], found["repaired"]]
            cells = [row["victim"], radius, _three(plain)]
            for pair in pairs:
                cells += [_three(pair["with_trigger"]), _three(pair["without_trigger"])]
            adds = _best(pair["with_trigger"] for pair in pairs) - _best(
                [plain, *(pair["without_trigger"] for pair in pairs)]
            )
            lines.append([*cells, f"{adds:+.1f}"])
    return markdown_table(headings, lines)


def _three(figures: Figures) -> str:
    names = ("attack_success_rate", "recovered_accuracy", "flagged")
    return ", ".join(f"{100 * figures[name]:.1f}" for name in names)


def _best(attempts: Iterable[Figures]) -> float:
    """Return the highest ASR of several attempts, in percent."""
    return max(100 * figures["attack_success_rate"] for figures in attempts)
