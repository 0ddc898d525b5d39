"""The tables of what attackers come to who send requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .altered_triggers import ALTERED
from .markdown_table import markdown_table

Row = Mapping[str, Any]
Figures = Mapping[str, float]


def altered_table(rows: Sequence[Row]) -> str:
    """Return how altered triggers fare, in percent; by one who does not know the bundle."""
    headings = [
        "victim",
        "trigger",
        "ASR before repair",
        "flagged",
        "ASR",
        "RA",
        "ASR of mode `reject`",
        "ASR, RA of a bundle prepared for it",
    ]
    lines = []
    for row in rows:
        lines.append(_altered_line(row["victim"], "none", row["clean"], ""))
        prepared = row["prepared"].get("altered")
        for name in ALTERED:
            cell = _both(prepared[name]) if prepared else "refused"
            lines.append(_altered_line("", name, row["altered"][name], cell))
    return markdown_table(headings, lines)


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


def _altered_line(victim: str, trigger: str, figures: Figures, prepared: str) -> list[str]:
    names = (
        "attack_success_rate_before",
        "flagged",
        "attack_success_rate",
        "recovered_accuracy",
        "attack_success_rate_rejecting",
    )
    return [victim, trigger, *(f"{100 * figures[name]:.1f}" for name in names), prepared]


def _both(figures: Figures) -> str:
    return f"{100 * figures['attack_success_rate']:.1f}, {100 * figures['recovered_accuracy']:.1f}"


def _three(figures: Figures) -> str:
    return f"{_both(figures)}, {100 * figures['flagged']:.1f}"


def _best(attempts: Iterable[Figures]) -> float:
    """Return the highest ASR of several attempts, in percent."""
    return max(100 * figures["attack_success_rate"] for figures in attempts)
