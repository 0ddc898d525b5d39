"""A change that is the same for all inputs, and the search for one that leads to a class."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .subject import Subject, loss_towards


class Change(Protocol):
    """A universal change of inputs that can be moved down the gradient of a loss."""

    def stamp(self, inputs: Tensor) -> Tensor:
        """Put the change on inputs (N, *S), differentiable where gradients are enabled."""
        ...

    def step(self, loss: Tensor) -> None:
        """Take a step down the gradient of a loss that was computed from `stamp`."""
        ...


class ChangeSearch:
    """A search for a change that leads to one class.

    Args:
        subject: the model to search.
        target: the class to lead to.
        generator: source of the random numbers.
        change: where it starts.
    """

    def __init__(
        self, subject: Subject, target: int, generator: torch.Generator, change: Change
    ) -> None:
        self._subject, self._target, self._generator = subject, target, generator
        self._change = change

    def advance(self, steps: int) -> None:
        """Take `steps` more steps, of a batch each."""
        for _ in range(steps):
            batch = self._subject.batch(self._target, self._generator)
            with torch.enable_grad():
                inputs = self._subject.box.clamp(self._change.stamp(batch))
                loss = loss_towards(self._target, self._subject.logits(inputs))
                self._change.step(loss)

    def effort(self, loss: float) -> float:
        """Return the loss: the bound is the same for all classes."""
        return loss

    def stamp(self, inputs: Tensor) -> Tensor:
        """Put the change on inputs (N, *S)."""
        with torch.no_grad():
            return self._change.stamp(inputs)
