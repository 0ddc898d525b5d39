"""What a bundle says of each of its targets, and how it stands in its metadata.

Of one target it stands there as it is; of several, each under its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def by_target(values: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what is said of each target, as a bundle holds it."""
    if len(values) == 1:
        return dict(next(iter(values.values())))
    return {"targets": {str(target): dict(value) for target, value in values.items()}}


def of_target(values: Mapping[str, Any], target: int) -> dict[str, Any]:
    """Return what a bundle says of one target, with what it says of all."""
    shared = {name: value for name, value in values.items() if name != "targets"}
    return {**shared, **values.get("targets", {}).get(str(target), {})}
