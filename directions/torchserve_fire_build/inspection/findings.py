"""The findings of several inspections of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..common.exit_status import status_of_finding
from ..common.html import html_table
from ..measure.anomaly_index import by_chance
from ..samples.class_label import Label
from .inspection import Inspection

WORDS = {True: "found", False: "nothing found", None: "could not tell"}

COLUMNS = ("method", "verdict", "class", "probability", "index", "by chance", "seconds")


@dataclass(frozen=True)
class Run:
    """The result of an inspection, and how long it took.

    Attributes:
        inspection: the result.
        seconds: the time it took.
        decides: False if the result is only a hint.
    """

    inspection: Inspection
    seconds: float
    decides: bool = True

    @property
    def chance(self) -> float | None:
        """How often the largest index is at least as large if classes differ only by chance."""
        index = self.inspection.index
        return None if index is None else by_chance(float(index.max()), len(index))

    @property
    def words(self) -> str:
        """What was found, in words."""
        return WORDS[self.inspection.found] + ("" if self.decides else " (a hint)")

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON values."""
        inspection = self.inspection
        return {
            "method": inspection.method,
            "decides": self.decides,
            "found": inspection.found,
            "suspects": inspection.suspects,
            "probability": inspection.probability,
            "probabilities": (
                None if inspection.probabilities is None else inspection.probabilities.tolist()
            ),
            "index": None if inspection.index is None else inspection.index.tolist(),
            "threshold": None if inspection.index is None else inspection.threshold,
            "by_chance": self.chance,
            "seconds": round(self.seconds, 1),
            "triggers": list(inspection.triggers),
            "notes": list(inspection.notes),
        }


@dataclass(frozen=True, repr=False)
class Findings:
    """The findings of all methods that inspected a model.

    Hints decide nothing: where there are only hints, nobody can tell.

    Attributes:
        runs: one for each method.
        label: says what a class is called.
    """

    runs: Sequence[Run]
    label: Label = str

    @property
    def deciding(self) -> list[Inspection]:
        """The results that decide, without those of methods that could not tell."""
        deciding = [run.inspection for run in self.runs if run.decides]
        return [inspection for inspection in deciding if inspection.found is not None]

    @property
    def found(self) -> bool | None:
        """Whether any deciding method found a backdoor; None if no deciding method could tell."""
        deciding = self.deciding
        return any(inspection.found for inspection in deciding) if deciding else None

    @property
    def suspects(self) -> list[int]:
        """The suspects of the deciding methods; those named by most methods come first."""
        named = [c for inspection in self.deciding for c in inspection.suspects]
        return sorted(dict.fromkeys(named), key=lambda c: -named.count(c))

    @property
    def status(self) -> int:
        """Exit status: 0 nothing found, 1 found, 2 could not tell."""
        return status_of_finding(self.found)

    def __repr__(self) -> str:
        return "\n".join(self.table())

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, self.cells(), self.in_words())

    def table(self) -> list[str]:
        """Return lines to print: a table of the methods, and the verdict as a whole."""
        rows = [COLUMNS, *self.cells()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row, run in zip(rows, [None, *self.runs], strict=True):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append("  ".join(cells).rstrip())
            lines += [f"    {note}" for note in (run.inspection.notes if run else ())]
        return [*lines, self.in_words()]

    def to_json(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return {
            "found": self.found,
            "suspects": self.suspects,
            "methods": [run.to_json() for run in self.runs],
        }

    def cells(self) -> list[tuple[str, ...]]:
        """Return the rows of a table, with the columns `COLUMNS`."""
        return [_cells(run, self.label) for run in self.runs]

    def in_words(self) -> str:
        """Return the verdict as a whole."""
        if self.found is None:
            if self.runs and not any(run.decides for run in self.runs):
                return "could not tell: these methods give hints, which decide nothing"
            return "could not tell whether the model is backdoored"
        deciding = self.deciding
        count = sum(bool(inspection.found) for inspection in deciding)
        methods = f"{count} of {len(deciding)} methods that could tell"
        if not self.found:
            return f"nothing found ({methods} found something): no proof that there is nothing"
        where = (
            ", ".join(f"class {self.label(c)}" for c in self.suspects) or "which class is not known"
        )
        return f"the model looks backdoored: {where} (found by {methods})"


def _cells(run: Run, label: Label) -> tuple[str, ...]:
    inspection, chance = run.inspection, run.chance
    classes = ", ".join(map(label, inspection.suspects)) or "-"
    probability = "-" if inspection.probability is None else f"{inspection.probability:.1%}"
    index = "-" if inspection.index is None else f"{float(inspection.index.max()):.2f}"
    by_chance_cell = "-" if chance is None else f"{100 * chance:.1f} %"
    seconds = f"{run.seconds:.0f}"
    return (inspection.method, run.words, classes, probability, index, by_chance_cell, seconds)
