"""Checked access to the fields of a parsed document (a bundle's metadata, a configuration)."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..errors import FireError


class Fields:
    """The fields of one mapping. Each is taken once; `finish` refuses those that are left over.

    Args:
        values: the mapping.
        path: the file and the field that hold it, for messages.
        error: the exception to raise.
    """

    def __init__(self, values: Mapping[str, Any], path: str, error: type[FireError]) -> None:
        self._values = dict(values)
        self._path = path
        self._error = error
        self._known: list[str] = []

    def where(self, name: str) -> str:
        """Return a field's name as messages have it."""
        return f"{self._path}: {_printable(name)}"

    def has(self, name: str) -> bool:
        """Whether the field is there and not taken yet."""
        self._known.append(name)
        return name in self._values

    def peek(self, name: str) -> Any:
        """Look at a field without taking it."""
        return self._values.get(name)

    def names(self) -> list[str]:
        """Return the names of the fields that are not taken yet."""
        return list(self._values)

    def finish(self) -> None:
        """Refuse the fields that nothing took."""
        if not self._values:
            return
        name = str(next(iter(self._values)))
        known = list(dict.fromkeys(self._known))
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; the nearest is {near[0]}" if near else f"; expected one of {', '.join(known)}"
        raise self._error(f"{self.where(name)}: unknown field{hint if known else ''}")

    def raw(self, name: str) -> Any:
        """Take a field as it is."""
        self._known.append(name)
        if name not in self._values:
            near = difflib.get_close_matches(name, map(str, self._values), n=1)
            hint = f"; did you mean it by {_printable(near[0])}?" if near else ""
            raise self._error(f"{self.where(name)}: missing{hint}")
        return self._values.pop(name)

    def text(self, name: str) -> str:
        """Take a text that is not empty and can be printed as it is."""
        value = self.raw(name)
        if not isinstance(value, str) or not value or not value.isprintable():
            self.refuse(name, value, "a text of printable characters")
        return str(value)

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """Take one of some texts."""
        value = self.raw(name)
        if value not in choices:
            self.refuse(name, value, f"one of {', '.join(choices)}")
        return str(value)

    def sha256(self, name: str) -> str:
        """Take a SHA-256 as 64 hexadecimal digits."""
        value = self.raw(name)
        if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
            self.refuse(name, value, "a SHA-256 in hexadecimal digits")
        return str(value)

    def optional_sha256(self, name: str) -> str | None:
        """Take a SHA-256 as 64 hexadecimal digits, or null."""
        if self.has(name) and self.peek(name) is None:
            self.raw(name)
            return None
        return self.sha256(name)

    def boolean(self, name: str) -> bool:
        """Take true or false."""
        value = self.raw(name)
        if not isinstance(value, bool):
            self.refuse(name, value, "true or false")
        return bool(value)

    def integer(self, name: str, minimum: int = -(2**63)) -> int:
        """Take an integer of at most 64 bits."""
        value = self.raw(name)
        if type(value) is not int or not minimum <= value < 2**63:
            expected = "an integer" if minimum < 0 else f"an integer of at least {minimum}"
            self.refuse(name, value, expected)
        return int(value)

    def optional_integer(self, name: str, minimum: int = -(2**63)) -> int | None:
        """Take an integer of at most 64 bits, or null."""
        if self.has(name) and self.peek(name) is None:
            self.raw(name)
            return None
        return self.integer(name, minimum)

    def number(self, name: str) -> float:
        """Take a finite number (one that float32 can hold)."""
        value = self.raw(name)
        if not _is_number(value):
            self.refuse(name, value, "a finite number")
        return float(value)

    def numbers(self, name: str) -> list[float]:
        """Take a list of finite numbers."""
        value = self.raw(name)
        if not isinstance(value, list) or not all(_is_number(v) for v in value):
            self.refuse(name, value, "a list of finite numbers")
        return [float(v) for v in value]

    def sizes(self, name: str) -> tuple[int, ...]:
        """Take a list of positive sizes."""
        value = self.raw(name)
        if (
            not isinstance(value, list)
            or not value
            or not all(type(v) is int and 0 < v < 2**31 for v in value)
        ):
            self.refuse(name, value, "a list of positive sizes")
        return tuple(value)

    def integers(self, name: str) -> tuple[int, ...]:
        """Take a list of integers."""
        value = self.raw(name)
        if not isinstance(value, list) or not all(type(v) is int and abs(v) < 2**31 for v in value):
            self.refuse(name, value, "a list of integers")
        return tuple(value)

    def null(self, name: str) -> None:
        """Take a field that must be there, and be null."""
        if (value := self.raw(name)) is not None:
            self.refuse(name, value, "null")

    def mapping(self, name: str) -> dict[str, Any]:
        """Take a mapping as it is."""
        value = self.raw(name)
        if not isinstance(value, dict):
            self.refuse(name, value, "a map")
        return dict(value)

    def texts(self, name: str) -> dict[str, str]:
        """Take a mapping of texts."""
        fields = self.fields(name)
        return {key: fields.text(key) for key in fields.names()}

    def fields(self, name: str) -> Fields:
        """Take a mapping whose fields are checked in turn."""
        return Fields(self.mapping(name), self.where(name), self._error)

    def optional_fields(self, name: str) -> Fields | None:
        """Take a mapping whose fields are checked in turn, or null."""
        if self.has(name) and self.peek(name) is None:
            self.raw(name)
            return None
        return self.fields(name)

    def list_of_fields(self, name: str) -> list[Fields]:
        """Take a list of mappings whose fields are checked in turn."""
        value = self.raw(name)
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
            self.refuse(name, value, "a list of maps")
        return [Fields(v, f"{self.where(name)}[{i}]", self._error) for i, v in enumerate(value)]

    def refuse(self, name: str, value: Any, expected: str) -> NoReturn:
        """Refuse a field's value, and say what was expected."""
        raise self._error(f"{self.where(name)}: {shown(value)}, expected {expected}")


def _printable(name: str) -> str:
    """Return a name as it is, or what of it can be shown in a message."""
    return name if name.isprintable() and len(name) <= 60 else shown(name)


def shown(value: Any) -> str:
    """Return a value as messages show it: on one line, and short however large it is."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes no integer of more than 4300 digits.
        text = f"a very large {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < 3e38
        and math.isfinite(value)
    )
