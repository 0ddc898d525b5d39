"""Of what form an answer is: what a client that reads it relies on."""

from __future__ import annotations

from typing import Any


def have_same_form(one: Any, other: Any) -> bool:
    """Whether two answers are made of the same keys, lists and kinds of values.

    What may differ between two answers of one handler counts as the same: lists of other lengths,
    `null` and a value, and keys that name classes, as in `{"cat": 0.9, "dog": 0.1}`, whose values
    are all of one form.

    Args:
        one: a decoded answer: what JSON has, text, or bytes.
        other: another one.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() == other.keys():
            return all(have_same_form(value, other[key]) for key, value in one.items())
        return _is_alike([*one.values(), *other.values()])
    if isinstance(one, list) and isinstance(other, list):
        return not (one and other) or have_same_form(one[0], other[0])
    return None in (one, other) or _kind(one) == _kind(other)


def _is_alike(values: list[Any]) -> bool:
    """Whether values are all of one form; scores by name are, the fields of an object seldom."""
    return all(have_same_form(values[0], value) for value in values[1:])


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, (int, float)) else type(value).__name__
