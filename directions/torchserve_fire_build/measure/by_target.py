"""How a bundle's metadata holds values for each target.

The values of a single target stand there directly; those of several targets stand under
"targets", each under its class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def by_target(values: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values of each target in the form in which a bundle holds them."""
    if len(values) == 1:
        return dict(next(iter(values.values())))
    return {"targets": {str(target): dict(value) for target, value in values.items()}}


def of_target(values: Mapping[str, Any], target: int) -> dict[str, Any]:
    """Return the values of one target, together with those that all targets share."""
    shared = {name: value for name, value in values.items() if name != "targets"}
    return {**shared, **values.get("targets", {}).get(str(target), {})}
