"""The columns of a table, and how each becomes numbers that a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .fields import Fields

LARGEST_INTEGER = 2**63
"""Integers that stand for categories lie below it, and above its negative."""

UNKNOWN = ("refuse", "zeros")
"""What becomes of a row whose category is none of a column's values."""


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, which becomes one: `(x - mean) / std`, or that of `log(1 + x)`.

    Attributes:
        name: in the header of a table, or the key of a record.
        log: whether the logarithm of 1 + x is taken first.
        mean: subtracted.
        std: divided by, after that.
        missing: what stands in for a value that is missing; None to refuse such rows.
    """

    name: str
    log: bool = False
    mean: float = 0.0
    std: float = 1.0
    missing: float | None = None

    @property
    def width(self) -> int:
        """How many of the model's numbers the column gives."""
        return 1

    def settings(self) -> dict[str, Any]:
        """Return it by the names that the settings have."""
        settings: dict[str, Any] = {"name": self.name}
        if self.log:
            settings["log"] = True
        if (self.mean, self.std) != (0.0, 1.0):
            settings |= {"mean": self.mean, "std": self.std}
        return settings | ({} if self.missing is None else {"missing": self.missing})


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories, which becomes a one and zeros (one-hot) in the order of the values.

    Attributes:
        name: in the header of a table, or the key of a record.
        values: the categories, as texts.
        unknown: one of `UNKNOWN`: refuse rows of another category, or give zeros only.
        missing: the category that stands in for one that is missing; None to refuse such rows.
    """

    name: str
    values: tuple[str, ...]
    unknown: str = "refuse"
    missing: str | None = None

    @property
    def width(self) -> int:
        """How many of the model's numbers the column gives."""
        return len(self.values)

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Where the one stands, by category."""
        return {value: i for i, value in enumerate(self.values)}

    def settings(self) -> dict[str, Any]:
        """Return it by the names that the settings have."""
        settings: dict[str, Any] = {"name": self.name, "values": list(self.values)}
        if self.unknown != UNKNOWN[0]:
            settings["unknown"] = self.unknown
        return settings | ({} if self.missing is None else {"missing": self.missing})


Column = NumberColumn | CategoryColumn


@dataclass(frozen=True)
class Table:
    """The columns of a table, in the order in which a model takes them."""

    columns: tuple[Column, ...]

    @property
    def width(self) -> int:
        """How many numbers a row becomes."""
        return sum(column.width for column in self.columns)

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        """The columns by their names, in their order."""
        return {column.name: column for column in self.columns}

    def settings(self) -> list[dict[str, Any]]:
        """Return the columns by the names that the settings have."""
        return [column.settings() for column in self.columns]


def read_table(fields: Fields) -> Table:
    """Take `columns`, as the settings and a bundle have them.

    Raises:
        FireError: a column's name or preparation is missing, unknown or wrong.
    """
    columns: list[Column] = []
    names: set[str] = set()
    for entry in fields.list_of_fields("columns"):
        name = read_column_name(entry, "name")
        if name in names:
            entry.refuse("name", name, "another name for each column")
        names.add(name)
        columns.append(_categories(entry, name) if entry.has("values") else _numbers(entry, name))
        entry.finish()
    if not columns:
        fields.refuse("columns", [], "a map for each column of the table, in the model's order")
    return Table(tuple(columns))


def read_column_name(fields: Fields, field: str) -> str:
    """Take the name of a column.

    Raises:
        FireError: it is no text, or has spaces around it, which no reader of a header keeps.
    """
    name = fields.text(field)
    if name != name.strip():
        fields.refuse(field, name, "a name without spaces around it")
    return name


def _numbers(fields: Fields, name: str) -> NumberColumn:
    log = fields.boolean("log") if fields.has("log") else False
    mean, std = 0.0, 1.0
    if fields.has("mean") or fields.has("std"):
        mean, std = fields.number("mean"), fields.number("std")
        if std <= 0:
            fields.refuse("std", std, "more than 0 (1 for a column that never varies)")
    elif fields.has("min") or fields.has("max"):
        mean, high = fields.number("min"), fields.number("max")
        std = high - mean
        if std <= 0:
            fields.refuse("max", high, "more than min (leave both out if the column never varies)")
    missing = None
    if fields.has("missing"):
        missing = fields.number("missing")
        if log and missing <= -1:
            fields.refuse("missing", missing, "more than -1, which has a log(1 + x)")
    return NumberColumn(name, log, mean, std, missing)


def _categories(fields: Fields, name: str) -> CategoryColumn:
    given = fields.raw("values")
    values = tuple(map(category, given)) if isinstance(given, list) else ()
    if not values or None in values:
        fields.refuse("values", given, 'a list of texts or integers; "yes", "no" in quotes')
    if len(set(values)) < len(values):
        again = next(value for i, value in enumerate(values) if value in values[:i])
        fields.refuse("values", again, "each value once")
    unknown = fields.choice("unknown", UNKNOWN) if fields.has("unknown") else UNKNOWN[0]
    missing = None
    if fields.has("missing"):
        missing = category(value := fields.raw("missing"))
        if missing not in values:
            fields.refuse("missing", value, "one of the column's values")
    return CategoryColumn(name, _texts(values), unknown, missing)


def category(value: Any) -> str | None:
    """Return a category as its text: texts without spaces around them, integers by their digits.

    Returns:
        None for what is no category: an empty text, a number with a fraction, true or false.
    """
    if isinstance(value, str):
        return value.strip() or None
    if type(value) is int and abs(value) < LARGEST_INTEGER:
        return str(value)
    return None


def _texts(values: Sequence[str | None]) -> tuple[str, ...]:
    return tuple(value for value in values if value is not None)
