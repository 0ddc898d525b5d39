"""From the cells of a table's row to one sample of the model's input."""

from __future__ import annotations

import csv
import difflib
import io
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..format.fields import shown
from ..format.table import CategoryColumn, NumberColumn, Table, category

Row = Mapping[str, float | str]
"""A checked row: of each column its number, or its category."""

LONGEST_CATEGORY = 1000
"""Characters of a category that no column knows. It is kept as it is where a row is."""


class CellError(InputError):
    """A cell that cannot be used. An answer does not quote what a client sent; `found` does.

    Attributes:
        found: the value, or the name of the column, as messages show it.
    """

    def __init__(self, message: str, found: Any, reason: str) -> None:
        super().__init__(message, reason=reason)
        self.found = shown(found)


NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""A number as text. Python's own reader takes 1_000, nan and digits of any script, too."""


def checked_row(cells: Mapping[str, Any], table: Table, beside: Collection[str] = ()) -> Row:
    """Check a row's cells.

    Args:
        cells: by column: a number, a text, or None or an empty text for what is missing.
        table: the columns.
        beside: columns that a row may have, and that the model does not take.

    Returns:
        Its numbers and categories, in the order of the columns; what was missing is filled in.

    Raises:
        InputError: a column is unknown or missing, or its value is none that it takes.
    """
    columns = table.by_name
    for i, name in enumerate(cells, 1):
        if name not in columns and name not in beside:
            near = difflib.get_close_matches(str(name)[:100], columns, n=1)
            hint = f"; the nearest is {near[0]}" if near else ""
            raise CellError(
                f"column {i}: unknown name, expected the {len(columns)} columns of the model{hint}",
                name,
                "column",
            )
    return {
        name: _number(cells.get(name), column)
        if isinstance(column, NumberColumn)
        else _category(cells.get(name), column)
        for name, column in columns.items()
    }


def cells_of_texts(texts: Mapping[str, str], table: Table) -> dict[str, Any]:
    """Return the cells of a row of texts: those of columns of numbers as numbers.

    Raises:
        InputError: a text of such a column is no number.
    """
    columns = table.by_name
    cells: dict[str, Any] = {}
    for name, text in texts.items():
        value = text.strip()
        if value and isinstance(columns.get(name), NumberColumn):
            if not NUMBER.fullmatch(value):
                raise _refused(name, text, "a number", "type")
            cells[name] = float(value)
        else:
            cells[name] = value
    return cells


def row_to_sample(row: Row, table: Table) -> Tensor:
    """Return what the model takes of a row, (width,) float32.

    Raises:
        InputError: a number, as prepared, is none that float32 can hold.
    """
    values: list[float] = []
    for name, column in table.by_name.items():
        value = row[name]
        if isinstance(column, CategoryColumn):
            values += [float(value == each) for each in column.values]
            continue
        number = float(value)
        prepared = ((math.log1p(number) if column.log else number) - column.mean) / column.std
        with np.errstate(over="ignore"):
            if not np.isfinite(np.float32(prepared)):
                raise _refused(
                    name, number, "a number that, as prepared, float32 can hold", "not finite"
                )
        values.append(prepared)
    return torch.tensor(values, dtype=torch.float32)


def row_to_csv(row: Row) -> bytes:
    """Return a checked row as a CSV file of one row, whose header names the columns."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(row)
    writer.writerow(row.values())
    return file.getvalue().encode()


def _number(value: Any, column: NumberColumn) -> float:
    if value is None or value == "":
        if column.missing is None:
            raise InputError(f"{column.name}: missing, expected a number", reason="missing")
        return column.missing
    if type(value) not in (int, float):
        raise _refused(column.name, value, "a number", "type")
    try:
        number = float(value)
    except OverflowError:  # An integer of hundreds of digits.
        number = math.inf
    if not math.isfinite(number):
        raise _refused(column.name, value, "a finite number", "not finite")
    if column.log and number <= -1:
        raise _refused(column.name, value, "more than -1, which has a log(1 + x)", "range")
    return number


def _category(value: Any, column: CategoryColumn) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        if column.missing is None:
            raise InputError(f"{column.name}: missing, expected a category", reason="missing")
        return column.missing
    found = category(value)
    if found is None:
        raise _refused(column.name, value, "a category: a text or an integer", "type")
    if found in column.places:
        return found
    if column.unknown == "zeros" and len(found) <= LONGEST_CATEGORY and found.isprintable():
        return found
    some = ", ".join(column.values[:5]) + (", ..." if column.width > 5 else "")
    near = difflib.get_close_matches(found[:100], column.values, n=1)
    hint = f"; the nearest is {near[0]}" if near else ""
    raise _refused(column.name, value, f"one of {column.width} categories ({some}){hint}", "range")


def _refused(name: str, value: Any, expected: str, reason: str) -> CellError:
    return CellError(f"{name}: expected {expected}", value, reason)
