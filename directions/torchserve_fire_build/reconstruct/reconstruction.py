"""A reconstructed trigger, and the protocol of the searches for triggers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..common.budget import Budget
from .subject import Subject

STRETCH = 20
"""Steps between two checks of the time."""

Stamp = Callable[[Tensor], Tensor]
"""Puts a trigger on inputs (N, *S), float32; they stay on their device."""


@dataclass(frozen=True)
class Reconstruction:
    """A reconstructed trigger.

    Attributes:
        method: the method that found it.
        target: the class that it leads to.
        stamp: puts the trigger on inputs; a request could carry the result.
        success: share of the clean inputs of other classes that the trigger leads to the target.
    """

    method: str
    target: int
    stamp: Stamp
    success: float


class TriggerSearch(Protocol):
    """A search for the trigger of one class that can be continued.

    So all classes can be searched for a few steps, and the promising ones to the end.
    """

    def advance(self, steps: int) -> None:
        """Take `steps` more steps, of a batch each."""
        ...

    def effort(self, loss: float) -> float:
        """Return how hard it is to lead inputs to the class; classes are compared by this number.

        Args:
            loss: loss of the stamped inputs towards the class, in nats.
        """
        ...

    def stamp(self, inputs: Tensor) -> Tensor:
        """Put the best trigger so far on inputs (N, *S); not yet as a request carries it."""
        ...


def advance_within(search: TriggerSearch, steps: int, budget: Budget) -> bool:
    """Continue a search for `steps` steps; return whether there was time for all of them."""
    for taken in range(0, steps, STRETCH):
        if budget.spent():
            return False
        search.advance(min(STRETCH, steps - taken))
    return True


def reconstruction_of(
    method: str, subject: Subject, target: int, search: TriggerSearch
) -> Reconstruction:
    """Return the trigger of a search, with its success on the clean inputs of other classes."""

    def stamp(inputs: Tensor) -> Tensor:
        with torch.no_grad():
            stamped = subject.box.legal(search.stamp(inputs.to(subject.device)))
        return stamped.to(inputs.device)

    return Reconstruction(
        method, target, stamp, subject.success(stamp(subject.others(target)), target)
    )
