"""The demo's figures: clean accuracy, attack success rate, recovered accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .ask_server import Answer
from .trigger import TARGET


@dataclass(frozen=True)
class Figures:
    """What one archive does to clean and triggered requests, as shares in [0, 1].

    Attributes:
        clean_accuracy: clean images that are answered with their true digit.
        attack_success_rate: triggered images that are answered with the target.
        recovered_accuracy: triggered images that are answered with their true digit.
        flagged_clean: clean images that are flagged.
        flagged_triggered: triggered images that are flagged.
    """

    clean_accuracy: float
    attack_success_rate: float
    recovered_accuracy: float
    flagged_clean: float
    flagged_triggered: float


def measure(
    clean: Sequence[Answer],
    clean_labels: Sequence[int],
    triggered: Sequence[Answer],
    triggered_labels: Sequence[int],
) -> Figures:
    """Count; the triggered images are ones whose true digit is not the target."""
    return Figures(
        clean_accuracy=accuracy(clean, clean_labels),
        attack_success_rate=_share([answer.digit == TARGET for answer in triggered]),
        recovered_accuracy=accuracy(triggered, triggered_labels),
        flagged_clean=_share([answer.flagged for answer in clean]),
        flagged_triggered=_share([answer.flagged for answer in triggered]),
    )


def accuracy(answers: Sequence[Answer], labels: Sequence[int]) -> float:
    """Return the share of answers that are the true digit."""
    return _share([a.digit == label for a, label in zip(answers, labels, strict=True)])


def table(before: Figures, after: Figures, ceiling: float) -> str:
    """Return the figures for a person.

    Args:
        before: of the plain archive.
        after: of the repaired archive.
        ceiling: the plain archive's accuracy on the triggered images without their trigger.
    """
    rows = (
        ("clean accuracy", before.clean_accuracy, after.clean_accuracy),
        ("attack success rate", before.attack_success_rate, after.attack_success_rate),
        ("recovered accuracy", before.recovered_accuracy, after.recovered_accuracy),
    )
    lines = [f"{'':22}{'before repair':>15}{'after repair':>15}"]
    lines += [f"{name:22}{old:>15.1%}{new:>15.1%}" for name, old, new in rows]
    lines[-1] += f"   (at best {ceiling:.1%}: the same images without the trigger)"
    lines.append(
        f"{'flagged':22}{'':15}{after.flagged_triggered:>15.1%}"
        f"   of triggered requests, {after.flagged_clean:.1%} of clean ones"
    )
    return "\n".join(lines)


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)
