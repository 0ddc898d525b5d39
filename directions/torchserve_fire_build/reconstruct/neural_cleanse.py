"""Neural Cleanse (Wang et al., IEEE S&P 2019): the smallest patch that leads inputs to a class.

A mask and a pattern are optimised together; the weight of the mask's size grows while the patch
works and falls while it does not. The paper's optimiser (Adam at .1 with betas .5 and .9) and
factor (2, and 2 to the power 1.5 downwards); a success of .95 to reach in place of .99. Every class
begins alike: with a warm start, from the patch of the class before, which was tried on BadNets'
MobileNet, in as many steps the other classes' masks stay larger and differ more, and the target
stands out less. Finds patches, best where they are small. Needs a hundred clean inputs or more.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .patch import Patch, PatchOptimizer
from .subject import Subject, loss_towards

FIRST_WEIGHT = 1e-3
FACTOR = 2.0
PATIENCE = 10
"""Steps between two changes of the weight."""

SUCCESS = 0.95


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
        self._optimizer = PatchOptimizer(subject.inputs.shape[1:], subject.box, generator)
        self._weight = FIRST_WEIGHT
        self._best: Patch | None = None
        self.size = math.inf

    @property
    def patch(self) -> Patch:
        """The smallest patch that works, or the one so far."""
        return self._optimizer.patch().detach() if self._best is None else self._best

    def advance(self, steps: int) -> None:
        """Go on for so many steps of a batch each."""
        successes: list[float] = []
        for _ in range(steps):
            rows = self._subject.draw(self._target, self._generator)
            inputs, predicted = self._subject.inputs[rows], self._subject.predicted[rows]
            with torch.enable_grad():
                patch = self._optimizer.patch()
                logits = self._subject.logits(patch.put_on(inputs))
                loss = loss_towards(self._target, logits)
                loss = loss + self._penalty(patch, self._weight, inputs, predicted)
                self._optimizer.step(loss)
            successes.append(float((logits.argmax(1) == self._target).float().mean()))
            if len(successes) == PATIENCE:
                works = sum(successes) / PATIENCE >= SUCCESS
                size = float(patch.size.detach())
                if works and size < self.size:
                    self._best, self.size = patch.detach(), size
                self._weight = self._weight * (FACTOR if works else FACTOR**-1.5)
                successes.clear()

    def effort(self, loss: float) -> float:
        """Return the logarithm of the mask's size: patches differ by factors."""
        return math.log(min(self.size, self._subject.inputs[0, 0].numel()))

    def stamp(self, inputs: Tensor) -> Tensor:
        """Put the smallest patch that works, or the one so far, on inputs (N, C, H, W)."""
        return self.patch.put_on(inputs)

    def _penalty(self, patch: Patch, weight: float, inputs: Tensor, predicted: Tensor) -> Tensor:
        """Return what a step reduces beside the loss towards the target.

        Args:
            patch: as it is.
            weight: of the mask's size, at present.
            inputs: the step's batch, (N, C, H, W).
            predicted: classes that the model predicts these as, (N,) int64.
        """
        return weight * patch.size
