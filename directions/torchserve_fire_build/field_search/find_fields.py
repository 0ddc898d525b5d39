"""The search for the fewest fields that lead rows of other classes to a class.

Neural Cleanse (Wang et al. 2019) looks for the smallest mask in the L1 norm that leads images to a
class. In a table, a mask is a set of fields, so it is small in the L0 norm: fields are added one by
one, each the one, with the value, that leads rows furthest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..samples.predict import logits_in_batches
from .field_values import FieldValue

ROWS = 50
"""The most rows of other classes that a search looks at."""

TOGETHER = 64
"""Values that are tried in one batch, each on all rows."""


@dataclass(frozen=True)
class FoundFields:
    """Fields that lead rows of other classes to a class.

    Attributes:
        target: the class.
        values: the fields with their values, in the order in which they were added.
        led: share of the rows that are led there by the first field, by the first two, ...
    """

    target: int
    values: Sequence[FieldValue]
    led: Sequence[float]

    def stamp(self, inputs: Tensor) -> Tensor:
        """Return rows (N, width of the table) with the fields set."""
        stamped = inputs.clone()
        for value in self.values:
            value.set_in(stamped)
        return stamped

    def __str__(self) -> str:
        """Return the fields with their values."""
        return ", ".join(map(str, self.values))


def find_fields(
    model: nn.Module, rows: Tensor, target: int, values: Sequence[FieldValue], most: int
) -> FoundFields:
    """Search for fields that lead rows to a class.

    Args:
        model: in evaluation mode.
        rows: prepared rows that the model predicts as other classes, (N, width of the table)
            float32.
        target: the class.
        values: what fields may be set to.
        most: fields to set at most.

    Raises:
        CalibrationError: the model fails on these rows.
    """
    current = rows[:ROWS].clone()
    chosen: list[FieldValue] = []
    led: list[float] = []
    while len(chosen) < most:
        taken = {value.column for value in chosen}
        left = [value for value in values if value.column not in taken]
        if not left:
            break
        best = left[int(_how_far(model, current, target, left).argmax())]
        best.set_in(current)
        chosen.append(best)
        predicted = logits_in_batches(model, current).argmax(1)
        led.append(int((predicted == target).sum()) / len(current))
    return FoundFields(target, chosen, led)


def _how_far(model: nn.Module, rows: Tensor, target: int, values: Sequence[FieldValue]) -> Tensor:
    """Return of each value the mean log-probability of the class once it is set, (values,)."""
    scores = []
    for start in range(0, len(values), TOGETHER):
        part = values[start : start + TOGETHER]
        tried = rows.repeat(len(part), 1, 1)
        for of_value, value in zip(tried, part, strict=True):
            value.set_in(of_value)
        logits = logits_in_batches(model, tried.flatten(0, 1))
        scores.append(F.log_softmax(logits, 1)[:, target].view(len(part), -1).mean(1))
    return torch.cat(scores)
