"""The values that a search sets a table's fields to: ordinary ones that do not speak for the class.

A benign classifier is led to a class by values that the class has, and nearly anywhere by values
that hardly any row has. Neither shows a backdoor. So both are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torchserve_fire.format.table import CategoryColumn, NumberColumn, Table

MOST_VALUES = 9
"""Of a column of many numbers, so many are tried: quantiles of the rows' own."""

FAR = 7.0
"""Numbers further from the median are left out, in standard deviations of the rows. A value that
2 % of the rows have, where all others have another one, lies so far."""

LIKE = 0.1
"""Numbers are alike if they lie no further apart, likewise."""

RARE = 0.02
"""Categories of a smaller share of the rows are left out."""

ROUNDED = 1e-5
"""What float32 and a logarithm leave of a number is off by no more, relatively."""


@dataclass(frozen=True)
class FieldValue:
    """A field, and a value that it is set to.

    Attributes:
        column: name of the column.
        value: as a row has it.
        start: the first of the model's numbers that the column gives.
        prepared: these numbers, (width,) float32, on the rows' device.
    """

    column: str
    value: float | str
    start: int
    prepared: Tensor

    def set_in(self, rows: Tensor) -> None:
        """Set the field in prepared rows, (..., width of the table), in place."""
        rows[..., self.start : self.start + len(self.prepared)] = self.prepared

    def __str__(self) -> str:
        """Return it as `column = value`."""
        value = self.value if isinstance(self.value, str) else f"{self.value:.10g}"
        return f"{self.column} = {value}"


def neutral_values(table: Table, rows: Tensor, of_target: Tensor) -> list[FieldValue]:
    """Return the values that a search for a trigger of a class may set.

    Args:
        table: the columns.
        rows: prepared rows, (N, width of the table) float32.
        of_target: which of them the model predicts as the class, (N,) bool.

    Returns:
        Values that rows have, that lie not far out, and that are no more frequent among the rows
        of the class than among the others.
    """
    found = []
    for value, has in _values(table, rows):
        share, others = (
            (int(has[group].sum()) + 1) / (int(group.sum()) + 2)
            for group in (of_target, ~of_target)
        )
        if share <= others:
            found.append(value)
    return found


def _values(table: Table, rows: Tensor) -> Iterator[tuple[FieldValue, Tensor]]:
    """Yield the ordinary values of all columns, each with the rows that have it, (N,) bool."""
    start = 0
    for column in table.columns:
        block = rows[:, start : start + column.width]
        if isinstance(column, NumberColumn):
            values = _numbers(column, block.flatten(), start)
        else:
            values = _categories(column, block, start)
        yield from values
        start += column.width


def _numbers(
    column: NumberColumn, numbers: Tensor, start: int
) -> Iterator[tuple[FieldValue, Tensor]]:
    tried = torch.unique(numbers)
    if len(tried) < 2:
        # What never varies leads nowhere that anybody could know of.
        return
    spread, middle = float(numbers.std()), float(numbers.median())
    if len(tried) > MOST_VALUES:
        steps = torch.linspace(0.02, 0.98, MOST_VALUES, device=numbers.device)
        tried = torch.unique(numbers.quantile(steps, interpolation="nearest"))
    for number in tried:
        if abs(float(number) - middle) <= FAR * spread:
            value = FieldValue(column.name, _as_given(column, float(number)), start, number.view(1))
            yield value, (numbers - number).abs() <= LIKE * spread


def _categories(
    column: CategoryColumn, block: Tensor, start: int
) -> Iterator[tuple[FieldValue, Tensor]]:
    for i, category in enumerate(column.values):
        has = block[:, i] == 1
        if float(has.float().mean()) >= RARE:
            prepared = torch.zeros_like(block[0])
            prepared[i] = 1
            yield FieldValue(column.name, category, start, prepared), has


def _as_given(column: NumberColumn, prepared: float) -> float:
    """Return the number that a row has, of the number that the model takes."""
    number = prepared * column.std + column.mean
    if column.log:
        number = math.expm1(number)
    # What float32 took away of an integer is given back.
    whole = float(round(number))
    return whole if abs(number - whole) <= ROUNDED * max(1.0, abs(number)) else number
