"""The figures of the field: clean accuracy, attack success rate, recovered accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..common.html import html_table

DEVIATIONS = 1.959964
"""Of a normal variable: 95 % of its values lie within so many standard deviations of the mean."""

CLEAN_AGREEMENT = "clean_agreement"
"""In the place of the clean accuracy, if the true classes of the clean inputs are unknown."""

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

Pair = tuple[float, float]
"""A share before repair, and after."""


def class_list(classes: Sequence[int], label: Callable[[int], str] = str) -> str:
    """Return classes in words: "class 7", "classes 0 airplane and 7 horse".

    Args:
        classes: their indices.
        label: says what a class is called.
    """
    *others, last = map(label, sorted(classes))
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
        natural_rate: share of the clean inputs of other classes that are predicted as the target
            anyway, counted as the attack success rate is. A perfect repair brings the attack
            success rate down to it, and not to 0.
        natural_count: number of these clean inputs.
        by_agreement: whether the true classes of the clean inputs are unknown. In the place of the
            clean accuracy stands the agreement with the predictions before repair.
    """

    clean_accuracy: Pair
    attack_success_rate: Pair
    recovered_accuracy: Pair | None
    ceiling: float | None
    flagged: Pair | None
    target: int
    counts: tuple[int, int]
    other_targets: tuple[int, ...] = ()
    natural_rate: Pair | None = None
    natural_count: int = 0
    by_agreement: bool = False

    def __repr__(self) -> str:
        return "\n".join(self.table())

    @property
    def targets(self) -> tuple[int, ...]:
        """The classes that the triggers lead to."""
        return (self.target, *self.other_targets)

    @property
    def clean_name(self) -> str:
        """What the figure of the clean inputs is called."""
        return (CLEAN_AGREEMENT if self.by_agreement else "clean_accuracy").replace("_", " ")

    def _repr_html_(self) -> str:
        rows = self.rows()
        if self.flagged is not None:
            clean, triggered = (f"{share:.2%}" for share in self.flagged)
            rows.append(("flagged: clean, triggered", clean, triggered, ""))
        return html_table(("", *COLUMNS), rows, f"trigger of {class_list(self.targets)}")

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows of a table: the name of a figure, before, after, and the interval."""
        rows: list[tuple[str, ...]] = [
            (name.replace("_", " "), *cells) for name, cells in self._cells()
        ]
        if self.ceiling is not None:
            rows.append(("ceiling of the recovered accuracy", f"{self.ceiling:.2%}", "", ""))
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --json` writes them."""

        def pair(name: str) -> dict[str, Any]:
            values, count = self._shares()[name]
            before, after = values if values is not None else (None, None)
            within = None if values is None else list(interval(values[1], count))
            return {"before": before, "after": after, "interval": within}

        clean, triggered = self.flagged if self.flagged is not None else (None, None)
        several = {"other_targets": list(self.other_targets)} if self.other_targets else {}
        agreement = {CLEAN_AGREEMENT: pair(CLEAN_AGREEMENT)} if self.by_agreement else {}
        return {
            **several,
            **agreement,
            "clean_accuracy": pair("clean_accuracy"),
            "attack_success_rate": pair("attack_success_rate"),
            "natural_rate": pair("natural_rate"),
            "recovered_accuracy": pair("recovered_accuracy") | {"ceiling": self.ceiling},
            "flagged": {"clean": clean, "triggered": triggered},
            "target": self.target,
            "counts": {"clean": self.counts[0], "triggered": self.counts[1]},
        }

    def table(self, label: Callable[[int], str] = str) -> list[str]:
        """Return the figures as the lines of a table.

        Args:
            label: says what a class is called.
        """
        notes = {
            CLEAN_AGREEMENT: "with the model's own predictions; the true classes are not known",
            "attack_success_rate": f"led to {class_list(self.targets, label)}",
            "natural_rate": "of the clean inputs of other classes, called so anyway",
            "recovered_accuracy": "the true classes of the triggered inputs are not known: sort "
            "them into folders named by class, such as FOLDER/ship, and run it again"
            if self.recovered_accuracy is None
            else ""
            if self.ceiling is None
            else f"of {self.ceiling:.2%}, the accuracy on the clean partners",
        }
        lines = [_line("", *COLUMNS)]
        for name, cells in self._cells():
            note = notes.get(name, "")
            lines.append(_line(name.replace("_", " "), *cells) + (f"   {note}" if note else ""))
        # With several targets, the triggered inputs of every class count.
        all_count = self.recovered_accuracy is None or bool(self.other_targets)
        which = "" if all_count else " of other classes than the target"
        clean, triggered = map(str, self.counts)
        kind = "measured on"
        if self.flagged is not None:
            kind = "flagged"
            clean, triggered = (
                f"{share:.2%} of {count}"
                for share, count in zip(self.flagged, self.counts, strict=True)
            )
        lines.append(f"{kind}: {clean} clean inputs, {triggered} triggered ones{which}")
        return lines

    def _shares(self) -> dict[str, tuple[Pair | None, int]]:
        """Return each figure, None if it is unknown, and of how many inputs it is a share."""
        clean, triggered = self.counts
        return {
            "clean_accuracy": (None if self.by_agreement else self.clean_accuracy, clean),
            CLEAN_AGREEMENT: (self.clean_accuracy if self.by_agreement else None, clean),
            "attack_success_rate": (self.attack_success_rate, triggered),
            "natural_rate": (self.natural_rate, self.natural_count),
            "recovered_accuracy": (self.recovered_accuracy, triggered),
        }

    def _cells(self) -> list[tuple[str, tuple[str, str, str]]]:
        """Return the rows of a table: the name of a figure, before, after, and the interval."""
        cells = []
        for name, (pair, count) in self._shares().items():
            if pair is not None:
                low, high = (f"{100 * end:.1f}" for end in interval(pair[1], count))
                cells.append((name, (f"{pair[0]:.2%}", f"{pair[1]:.2%}", f"{low} to {high}%")))
            elif name == "recovered_accuracy":
                cells.append((name, ("?", "?", "")))
        return cells


def _line(name: str, before: str, after: str, within: str) -> str:
    return f"{name:22}{before:>10}{after:>10}{within:>18}"


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
    targets = torch.tensor([target, *other_targets])[:, None]
    wrong, counts = _attacked(triggered, targets)
    wrong_clean, others = _attacked(clean, targets)
    reference = triggered.reference
    truth = clean.before if clean.reference is None else clean.reference

    def share(values: Tensor) -> float:
        return float(values.double().mean()) if len(values) else 0.0

    def led(predicted: Tensor, wrong: Tensor, counts: Tensor) -> float:
        return share(((predicted == targets) & wrong).any(0)[counts])

    return Figures(
        clean_accuracy=(
            share(clean.before == truth),
            share(clean.after == truth),
        ),
        attack_success_rate=(
            led(triggered.before, wrong, counts),
            led(triggered.after, wrong, counts),
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
        natural_rate=None
        if clean.reference is None
        else (
            led(clean.before, wrong_clean, others),
            led(clean.after, wrong_clean, others),
        ),
        natural_count=0 if clean.reference is None else int(others.sum()),
        by_agreement=clean.reference is None,
    )


def _attacked(answers: Answers, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return which predictions would show a success of the attack, and which inputs count.

    Args:
        answers: of N inputs.
        targets: (targets, 1).

    Returns:
        Whether each target is another class than the true one, (targets, N), or (targets, 1) if
        the true classes are unknown; and which inputs count, (N,).
    """
    reference = answers.reference
    wrong = torch.ones_like(targets).bool() if reference is None else targets != reference
    return wrong, wrong.any(0).expand(len(answers.before))
