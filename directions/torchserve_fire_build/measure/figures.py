"""The figures of the field: clean accuracy, attack success rate, recovered accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..common.html import html_table

DEVIATIONS = 1.959964
"""Of a normal variable: 95 % of its values lie within so many standard deviations of the mean."""

Interval = tuple[float, float]


def interval(share: float, count: int) -> Interval:
    """Return the 95 % interval of the share that `count` samples show (Wilson, JASA 1927).

    Unlike the share plus or minus two standard errors, it says something of a share of 0 or 1.

    Args:
        share: in [0, 1].
        count: number of samples; without any, the share may be anything.
    """
    if count == 0:
        return 0.0, 1.0
    square = DEVIATIONS**2
    scale = 1 + square / count
    middle = (share + square / (2 * count)) / scale
    width = DEVIATIONS * (share * (1 - share) / count + square / (4 * count**2)) ** 0.5 / scale
    return max(0.0, middle - width), min(1.0, middle + width)


COLUMNS = ("before", "after", "95 % interval")


def class_list(classes: Sequence[int]) -> str:
    """Return classes in words: "class 7", "classes 0 and 7"."""
    *others, last = map(str, sorted(classes))
    return f"classes {', '.join(others)} and {last}" if others else f"class {last}"


@dataclass(frozen=True)
class Answers:
    """Predictions on clean or triggered samples, before and after repair.

    Attributes:
        before: predicted classes, (N,) int64.
        after: predicted classes, (N,) int64.
        flagged: which samples were flagged, (N,) bool; None without a detector.
        reference: the class that each sample should be predicted as, (N,) int64; None if it is
            unknown. Clean samples are then measured against the predictions before repair.
    """

    before: Tensor
    after: Tensor
    flagged: Tensor | None
    reference: Tensor | None


@dataclass(frozen=True, repr=False)
class Figures:
    """Shares in [0, 1], as pairs (before, after) repair; None if the true classes are unknown.

    Attributes:
        clean_accuracy: accuracy on clean inputs (BA).
        attack_success_rate: share of the triggered inputs of other classes that are predicted as
            the target (ASR).
        recovered_accuracy: accuracy on those inputs, with respect to their true classes (RA).
        ceiling: the unrepaired model's accuracy on their clean partners; None without pairs.
        flagged: share of the clean inputs, and of those triggered inputs, that are flagged; None
            without a detector.
        target: the class that the trigger leads to.
        counts: number of clean inputs, and of triggered inputs of other classes.
        other_targets: the classes that other triggers lead to. If there are any, every triggered
            input counts; the attack succeeds on an input that is predicted as any target other than
            its true class.
    """

    clean_accuracy: tuple[float, float]
    attack_success_rate: tuple[float, float]
    recovered_accuracy: tuple[float, float] | None
    ceiling: float | None
    flagged: tuple[float, float] | None
    target: int
    counts: tuple[int, int]
    other_targets: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return "\n".join(self.table())

    @property
    def intervals(self) -> tuple[Interval, Interval, Interval | None]:
        """The 95 % intervals of the three accuracies and rates after repair, in their order."""
        clean, triggered = self.counts
        return (
            interval(self.clean_accuracy[1], clean),
            interval(self.attack_success_rate[1], triggered),
            None
            if self.recovered_accuracy is None
            else interval(self.recovered_accuracy[1], triggered),
        )

    def _repr_html_(self) -> str:
        rows = [(name, *cells) for name, cells in self._cells()]
        caption = f"trigger of {class_list((self.target, *self.other_targets))}"
        if self.ceiling is not None:
            rows.append(("ceiling of the recovered accuracy", f"{self.ceiling:.2%}", "", ""))
        if self.flagged is not None:
            clean, triggered = (f"{share:.2%}" for share in self.flagged)
            rows.append(("flagged: clean, triggered", clean, triggered, ""))
        return html_table(("", *COLUMNS), rows, caption)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --json` writes them."""

        def pair(values: tuple[float, float] | None, within: Interval | None) -> dict[str, Any]:
            before, after = values if values is not None else (None, None)
            return {
                "before": before,
                "after": after,
                "interval": None if within is None else list(within),
            }

        clean, triggered = self.flagged if self.flagged is not None else (None, None)
        several = {"other_targets": list(self.other_targets)} if self.other_targets else {}
        of_clean, of_attack, of_recovered = self.intervals
        return several | {
            "clean_accuracy": pair(self.clean_accuracy, of_clean),
            "attack_success_rate": pair(self.attack_success_rate, of_attack),
            "recovered_accuracy": pair(self.recovered_accuracy, of_recovered)
            | {"ceiling": self.ceiling},
            "flagged": {"clean": clean, "triggered": triggered},
            "target": self.target,
            "counts": {"clean": self.counts[0], "triggered": self.counts[1]},
        }

    def table(self) -> list[str]:
        """Return the figures as the lines of a table."""
        lines = [
            f"{name:22}{before:>10}{after:>10}{within:>18}"
            for name, (before, after, within) in [("", COLUMNS), *self._cells()]
        ]
        lines[2] += f"   led to {class_list((self.target, *self.other_targets))}"
        if self.recovered_accuracy is None:
            lines[-1] += "   the true classes of the triggered inputs are not known"
        if self.ceiling is not None:
            lines[-1] += f"   of {self.ceiling:.2%}, the accuracy on the clean partners"
        # With several targets, the triggered inputs of every class count.
        all_count = self.recovered_accuracy is None or bool(self.other_targets)
        which = "" if all_count else " of other classes than the target"
        clean, triggered = map(str, self.counts)
        label = "measured on"
        if self.flagged is not None:
            label = "flagged"
            clean, triggered = (
                f"{share:.2%} of {count}"
                for share, count in zip(self.flagged, self.counts, strict=True)
            )
        lines.append(f"{label}: {clean} clean inputs, {triggered} triggered ones{which}")
        return lines

    def _cells(self) -> list[tuple[str, tuple[str, str, str]]]:
        names = ("clean accuracy", "attack success rate", "recovered accuracy")
        pairs = (self.clean_accuracy, self.attack_success_rate, self.recovered_accuracy)
        cells = []
        for name, pair, within in zip(names, pairs, self.intervals, strict=True):
            if pair is None or within is None:
                cells.append((name, ("?", "?", "")))
                continue
            low, high = (f"{100 * end:.1f}" for end in within)
            cells.append((name, (f"{pair[0]:.2%}", f"{pair[1]:.2%}", f"{low} to {high}%")))
        return cells


def measure(
    clean: Answers,
    triggered: Answers,
    target: int,
    partners: Tensor | None = None,
    other_targets: Sequence[int] = (),
) -> Figures:
    """Compute the figures.

    Args:
        clean: predictions on clean inputs.
        triggered: predictions on triggered inputs; an input does not count if the only target is
            its true class.
        target: the class that the trigger leads to.
        partners: whether the unrepaired model is right on the clean partner of each triggered
            input, (M,) bool; None without pairs.
        other_targets: the classes that other triggers lead to, if there are several triggers.
    """
    reference = triggered.reference
    targets = torch.tensor([target, *other_targets])[:, None]
    # Which targets would be wrong predictions: (targets, M), or (targets, 1) if all count.
    wrong = torch.ones_like(targets).bool() if reference is None else targets != reference
    counts = wrong.any(0).expand(len(triggered.before))

    truth = clean.before if clean.reference is None else clean.reference

    def attacked(predicted: Tensor) -> Tensor:
        return ((predicted == targets) & wrong).any(0)

    def share(values: Tensor) -> float:
        return float(values.double().mean()) if len(values) else 0.0

    return Figures(
        clean_accuracy=(
            share(clean.before == truth),
            share(clean.after == truth),
        ),
        attack_success_rate=(
            share(attacked(triggered.before)[counts]),
            share(attacked(triggered.after)[counts]),
        ),
        recovered_accuracy=None
        if reference is None
        else (
            share((triggered.before == reference)[counts]),
            share((triggered.after == reference)[counts]),
        ),
        ceiling=None if partners is None else share(partners[counts]),
        flagged=None
        if clean.flagged is None or triggered.flagged is None
        else (share(clean.flagged), share(triggered.flagged[counts])),
        target=target,
        counts=(len(clean.before), int(counts.sum())),
        other_targets=tuple(other_targets),
    )
