"""Neural Cleanse (Wang et al., IEEE S&P 2019): the smallest patch that leads inputs to a class.

A mask and a pattern are optimised together; the weight of the mask's size grows while the patch
works and falls while it does not. The paper's optimiser (Adam at .1 with betas .5 and .9) and
factor (2, and 2 to the power 1.5 downwards); a success of .95 to reach in place of .99. Finds
patches, best where they are small. Needs a hundred clean inputs or more.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .subject import Subject, loss_towards

RATE = 0.1
BETAS = (0.5, 0.9)
FIRST_WEIGHT = 1e-3
FACTOR = 2.0
PATIENCE = 10
"""Steps between two changes of the weight."""

SUCCESS = 0.95
FIRST_MASK = -1.0
"""Logit of the mask everywhere, to begin with."""


class NeuralCleanse:
    """A mask and a pattern in search; for maps (C, H, W).

    Args:
        subject: what to search.
        target: the class to lead to.
        generator: of the batches.

    Attributes:
        size: the mask's L1 norm, in pixels; infinite until a patch works.
    """

    def __init__(self, subject: Subject, target: int, generator: torch.Generator) -> None:
        self._subject, self._target, self._generator = subject, target, generator
        shape = tuple(subject.inputs.shape[1:])
        self._mask = torch.full((1, *shape[1:]), FIRST_MASK, requires_grad=True)
        self._pattern = torch.zeros(shape, requires_grad=True)
        self._optimizer = torch.optim.Adam([self._mask, self._pattern], RATE, BETAS)
        self._weight = FIRST_WEIGHT
        self._best: tuple[Tensor, Tensor] | None = None
        self.size = math.inf

    def advance(self, steps: int) -> None:
        """Go on for so many steps of a batch each."""
        successes: list[float] = []
        for _ in range(steps):
            batch = self._subject.batch(self._target, self._generator)
            with torch.enable_grad():
                mask, pattern = self._patch()
                logits = self._subject.logits(batch * (1 - mask) + mask * pattern)
                size = mask.sum()
                loss = loss_towards(self._target, logits) + self._weight * size
                gradients = torch.autograd.grad(loss, [self._mask, self._pattern])
            self._mask.grad, self._pattern.grad = gradients
            self._optimizer.step()
            successes.append(float((logits.argmax(1) == self._target).float().mean()))
            if len(successes) == PATIENCE:
                works = sum(successes) / PATIENCE >= SUCCESS
                if works and float(size.detach()) < self.size:
                    self._best = mask.detach(), pattern.detach()
                    self.size = float(size.detach())
                self._weight = self._weight * (FACTOR if works else FACTOR**-1.5)
                successes.clear()

    def effort(self, loss: float) -> float:
        """Return the logarithm of the mask's size: patches differ by factors."""
        return math.log(min(self.size, self._mask.numel()))

    def stamp(self, inputs: Tensor) -> Tensor:
        """Put the smallest patch that works, or the one so far, on inputs (N, C, H, W)."""
        mask, pattern = self._patch() if self._best is None else self._best
        return inputs * (1 - mask) + mask * pattern

    def _patch(self) -> tuple[Tensor, Tensor]:
        box = self._subject.box
        return self._mask.sigmoid(), box.low + box.width * self._pattern.sigmoid()
