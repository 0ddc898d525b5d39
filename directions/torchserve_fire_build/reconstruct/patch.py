"""A patch: a mask and a pattern, optimised together as in Neural Cleanse."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..samples.predict import gradients_of
from .input_box import InputBox

RATE = 0.1
BETAS = (0.5, 0.9)
FIRST_MASK = -1.0
"""Mean logit of the mask at the start."""

HALVINGS = 30
"""How often the interval of the logits' shift is halved; far beyond the precision of float32."""


@dataclass(frozen=True)
class Patch:
    """What covers a part of each input.

    Attributes:
        mask: how much each place is covered, (1, H, W) from 0 to 1.
        pattern: what covers it, (C, H, W), in the box of the inputs.
    """

    mask: Tensor
    pattern: Tensor

    @property
    def size(self) -> Tensor:
        """The mask's L1 norm, in pixels."""
        return self.mask.sum()

    def put_on(self, inputs: Tensor) -> Tensor:
        """Return inputs (N, C, H, W) with the patch."""
        return inputs * (1 - self.mask) + self.mask * self.pattern

    def detach(self) -> Patch:
        """Return the present patch, detached from the graph."""
        return Patch(self.mask.detach(), self.pattern.detach())


class PatchOptimizer:
    """Moves a patch down the gradient of a loss, with the optimiser of Neural Cleanse.

    Args:
        shape: shape of an input, (C, H, W).
        box: the values that inputs may have.
        generator: draws the first mask and pattern. If a trigger works at several places, the place
            that is found depends on it.
    """

    def __init__(self, shape: torch.Size, box: InputBox, generator: torch.Generator) -> None:
        self._box = box
        mask = FIRST_MASK + torch.randn(1, *shape[1:], generator=generator)
        pattern = torch.randn(shape, generator=generator)
        self._mask, self._pattern = mask.to(box.low.device), pattern.to(box.low.device)
        for logits in (self._mask, self._pattern):
            logits.requires_grad_()
        self._optimizer = torch.optim.Adam([self._mask, self._pattern], RATE, BETAS)

    def patch(self) -> Patch:
        """Return the patch so far, differentiable where gradients are enabled."""
        pattern = self._box.low + self._box.width * self._pattern.sigmoid()
        return Patch(self._mask.sigmoid(), pattern)

    def step(self, loss: Tensor) -> None:
        """Take a step down the gradient of a loss that was computed from `patch()`."""
        gradients = gradients_of(loss, [self._mask, self._pattern])
        self._mask.grad, self._pattern.grad = gradients
        self._optimizer.step()

    def shrink(self, limit: float) -> None:
        """Lower all of the mask's logits equally, until its size is at most `limit` pixels."""
        with torch.no_grad():
            # One transfer from a GPU in place of one for each halving.
            mask = self._mask.cpu()
            if float(mask.sigmoid().sum()) <= limit:
                return
            # With this shift, no place has more than its share of the limit.
            low, high = 0.0, float(mask.max()) + math.log(mask.numel() / limit)
            for _ in range(HALVINGS):
                middle = (low + high) / 2
                too_large = float((mask - middle).sigmoid().sum()) > limit
                low, high = (middle, high) if too_large else (low, middle)
            self._mask -= high
