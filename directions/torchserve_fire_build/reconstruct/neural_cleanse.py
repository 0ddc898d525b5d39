"""Neural Cleanse (Wang et al., IEEE S&P 2019): the smallest patch that leads inputs to a class.

A mask and a pattern are optimised together. The weight of the mask's size grows while the patch
works, and falls while it does not. The optimiser (Adam at .1 with betas .5 and .9) and the factor
(2, and 2 to the power 1.5 downwards) are the paper's; the success to reach is .95 instead of .99.
All classes start alike. A warm start, from the patch of the class before, was tried on BadNets'
MobileNet: after as many steps, the other classes' masks are larger and differ more, and the target
stands out less. It finds patches, small ones best. It needs a hundred clean inputs or more.
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
    """A search for a mask and a pattern; for maps (C, H, W).

    Args:
        subject: the model to search.
        target: the class to lead to.
        generator: source of the random numbers.

    Attributes:
        size: the mask's L1 norm, in pixels; infinite until a patch works.
    """

    def __init__(self, subject: Subject, target: int, generator: torch.Generator) -> None:
        self._subject, self._target, self._generator = subject, target, generator
        self._optimizer = PatchOptimizer(subject.inputs.shape[1:], subject.box, generator)
        self._weight = FIRST_WEIGHT
        self._successes: list[Tensor] = []
        self._best: Patch | None = None
        self.size = math.inf

    @property
    def patch(self) -> Patch:
        """The smallest patch that works; the present patch if none works yet."""
        return self._optimizer.patch().detach() if self._best is None else self._best

    def advance(self, steps: int) -> None:
        """Take `steps` more steps, of a batch each."""
        for _ in range(steps):
            rows = self._subject.draw(self._target, self._generator)
            inputs, predicted = self._subject.inputs[rows], self._subject.predicted[rows]
            with torch.enable_grad():
                patch = self._optimizer.patch()
                logits = self._subject.logits(patch.put_on(inputs))
                loss = loss_towards(self._target, logits)
                loss = loss + self._penalty(patch, self._weight, inputs, predicted)
                self._optimizer.step(loss)
            self._successes.append((logits.argmax(1) == self._target).float().mean())
            if len(self._successes) == PATIENCE:
                works = sum(torch.stack(self._successes).tolist()) / PATIENCE >= SUCCESS
                size = float(patch.size.detach())
                if works and size < self.size:
                    self._best, self.size = patch.detach(), size
                self._weight = self._weight * (FACTOR if works else FACTOR**-1.5)
                self._successes.clear()

    def effort(self, loss: float) -> float:
        """Return the logarithm of the mask's size: patches differ by factors."""
        return math.log(min(self.size, self._subject.inputs[0, 0].numel()))

    def stamp(self, inputs: Tensor) -> Tensor:
        """Put `patch` on inputs (N, C, H, W)."""
        return self.patch.put_on(inputs)

    def _penalty(self, patch: Patch, weight: float, inputs: Tensor, predicted: Tensor) -> Tensor:
        """Return the penalty that is added to the loss towards the target, ().

        Args:
            patch: the present patch.
            weight: the present weight of the mask's size.
            inputs: the step's batch, (N, C, H, W).
            predicted: the predicted classes of this batch, (N,) int64, on the CPU.
        """
        return weight * patch.size
