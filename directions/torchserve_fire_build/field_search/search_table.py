"""A model of a table, searched for a trigger of each of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchserve_fire.format.table import Table
from torchserve_fire.repair.layers import device_of

from ..common.errors import CalibrationError
from ..samples.predict import logits_in_batches
from ..samples.samples import Samples
from ..scan.other_classes import MIN_OTHERS, require_others
from ..scan.verdict import CLEAR, FOUND
from .field_values import FieldValue, neutral_values
from .find_fields import ROWS, FoundFields, find_fields
from .twins import led_in, train_twins
from .verdict import FIELDS, probability_of

MOST_ROWS = 1000
"""The most clean rows that are looked at."""

MIN_ROWS = 50


@dataclass(frozen=True)
class TableSubject:
    """A model of a table, and clean rows.

    Attributes:
        model: in evaluation mode.
        table: the columns.
        rows: prepared, (N, width of the table) float32, on the model's device.
        predicted: the classes that the model predicts of them, (N,) int64, on the CPU.
        classes: number of classes.
    """

    model: nn.Module
    table: Table
    rows: Tensor
    predicted: Tensor
    classes: int

    def others(self, target: int) -> Tensor:
        """Return the rows that are not predicted as a class."""
        return self.rows[self.predicted != target]

    def values(self, target: int) -> list[FieldValue]:
        """Return what fields may be set to by a trigger of a class."""
        return neutral_values(self.table, self.rows, self.predicted == target)


@dataclass(frozen=True)
class SearchedTable:
    """What was found.

    Attributes:
        subject: the model, and the rows.
        found: of each class that was searched, the fields that lead there best.
        by_nature: of each of these, the share of rows that its fields lead there in twins that
            know no trigger.
        probabilities: that each class is the target of a backdoor, (classes,) float64; 0 for
            classes that were not searched.
        skipped: classes that were not searched: without rows of a class nobody knows which values
            speak for it, or none is left.
    """

    subject: TableSubject
    found: Sequence[FoundFields]
    by_nature: Sequence[float]
    probabilities: Tensor
    skipped: Sequence[int] = ()

    @property
    def target(self) -> int:
        """The class that is most likely a target."""
        return int(self.probabilities.argmax())

    @property
    def backdoored(self) -> bool | None:
        """Whether a class is named; None if nobody can tell."""
        most = float(self.probabilities.max())
        if most >= FOUND:
            return True
        return False if most <= CLEAR and not self.skipped else None


def gather_rows(model: nn.Module, clean: Samples, seed: int) -> TableSubject:
    """Draw clean rows to search a model with.

    Args:
        model: in evaluation mode.
        clean: clean rows of a table.
        seed: of the draw.

    Raises:
        CalibrationError: they are too few, or too few are of other classes than the most frequent.
    """
    table = clean.description.table
    if table is None:
        raise CalibrationError(f"{clean.source}: expected rows of a table")
    if len(clean) < MIN_ROWS:
        raise CalibrationError(
            f"{clean.source}: {len(clean)} clean rows, expected at least {MIN_ROWS} to search for "
            "a trigger"
        )
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
    rows = clean.load(order[:MOST_ROWS].tolist()).to(device_of(model))
    logits = logits_in_batches(model, rows)
    if bool(logits.isnan().any()):
        raise CalibrationError(
            f"{clean.source}: the model's logits are NaN for some rows, expected numbers: are the "
            "columns prepared as the model expects, and its weights complete?"
        )
    predicted = logits.argmax(1)
    require_others(predicted, MIN_OTHERS, clean.source, "rows")
    return TableSubject(model, table, rows, predicted, logits.shape[1])


def search_table(subject: TableSubject, seed: int) -> SearchedTable:
    """Search for the fields that lead rows to each class, and judge what was found.

    Some classes are near others by nature. So networks of the same architecture are trained on
    the clean rows (`train_twins`): what leads there in these, too, counts for nothing.

    Args:
        subject: the model, and clean rows.
        seed: of the twins.

    Raises:
        CalibrationError: the model fails, no network like it learns the rows, or no class has a
            value that a trigger could set.
    """
    twins = train_twins(subject.model, subject.rows, subject.predicted, seed)
    by_nature: list[float] = []
    found: list[FoundFields] = []
    probabilities = torch.zeros(subject.classes, dtype=torch.float64)
    skipped = []
    for target in range(subject.classes):
        values = subject.values(target) if bool((subject.predicted == target).any()) else []
        if not values:
            skipped.append(target)
            continue
        rows = subject.others(target)
        fields = find_fields(subject.model, rows, target, values, FIELDS)
        found.append(fields)
        by_nature.append(led_in(twins, fields.stamp(rows[:ROWS]), target))
        probabilities[target] = probability_of(fields.led[-1] - by_nature[-1], len(subject.rows))
    if not found:
        raise CalibrationError(
            "no column has ordinary values that some classes share, so there is nothing to search"
        )
    return SearchedTable(subject, found, by_nature, probabilities, skipped)
