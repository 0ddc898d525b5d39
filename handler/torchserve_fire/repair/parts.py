"""The parts of what a model takes and returns: of tuples, lists, dicts and dataclasses."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


def parts_of(value: Any) -> list[Any] | None:
    """Return the parts of a value; None where it has none, as a tensor."""
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, (tuple, list)):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    return None


def with_parts(value: Any, parts: Sequence[Any]) -> Any:
    """Return a value of the same kind, with other parts in the order of `parts_of`."""
    if isinstance(value, dict):
        # Its own class knows how to make one, as transformers' outputs, with their attributes.
        return type(value)(dict(zip(value, parts, strict=True)))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*parts)
    if isinstance(value, (tuple, list)):
        return type(value)(parts)
    # Not made anew: what it computes when it is made, it has computed.
    made = copy.copy(value)
    for field, part in zip(dataclasses.fields(value), parts, strict=True):
        object.__setattr__(made, field.name, part)
    return made


def same_structure(one: Any, other: Any) -> bool:
    """Whether two values are of one kind, with as many parts, by the same keys."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        return bool(one.keys() == other.keys())
    first, second = parts_of(one), parts_of(other)
    return first is not None and second is not None and len(first) == len(second)
