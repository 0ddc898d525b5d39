"""A guess at the trigger, and what a search for one is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..common.budget import Budget
from .subject import Subject

STRETCH = 20
"""Steps between two looks at the time: whole windows of those searches that count their successes
in windows, which do as they would at one go."""

Stamp = Callable[[Tensor], Tensor]
"""Puts a trigger into inputs (N, *S), float32."""


@dataclass(frozen=True)
class Reconstruction:
    """A trigger that was searched for.

    Attributes:
        method: what found it.
        target: the class that it leads to.
        stamp: puts it into inputs; the result is what a request could carry.
        success: share of the clean inputs of other classes that it leads there.
    """

    method: str
    target: int
    stamp: Stamp
    success: float


class TriggerSearch(Protocol):
    """A search for the trigger of one class, which can be gone on with.

    So all classes can be searched a little, and the promising ones to the end.
    """

    def advance(self, steps: int) -> None:
        """Go on for so many steps of a batch each."""
        ...

    def effort(self, loss: float) -> float:
        """Return what it takes to lead inputs to the class, as classes are compared by it.

        Args:
            loss: of the stamped inputs towards the class, in nats.
        """
        ...

    def stamp(self, inputs: Tensor) -> Tensor:
        """Put the best trigger so far into inputs (N, *S), not yet as a request carries it."""
        ...


def advance_within(search: TriggerSearch, steps: int, budget: Budget) -> bool:
    """Go on with a search for so many steps; return whether the time sufficed for all of them."""
    for taken in range(0, steps, STRETCH):
        if budget.spent():
            return False
        search.advance(min(STRETCH, steps - taken))
    return True


def reconstruction_of(
    method: str, subject: Subject, target: int, search: TriggerSearch
) -> Reconstruction:
    """Return what a search has found, with its success on the clean inputs of other classes."""

    def stamp(inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return subject.box.legal(search.stamp(inputs))

    return Reconstruction(
        method, target, stamp, subject.success(stamp(subject.others(target)), target)
    )
