"""Universal perturbations: one pattern, added to every input, bounded in its length.

As in Moosavi-Dezfooli et al. 2017 (arXiv 1610.08401), but towards one class, and by projected
gradient descent. Triggers that are spread over the image, which a mask cannot hold, are found so.
The length is a root mean square (L2), or the largest change of any value (L-infinity), which lets
no place stand out. Needs a hundred clean inputs or more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..samples.predict import gradients_of
from .subject import Subject, loss_towards

MOMENTUM = 0.9
STRIDE = 1 / 16
"""Length of a step, of the bound."""

FREQUENCIES = 14
"""Of a smooth perturbation, along each side: those of a discrete cosine transform."""


@dataclass(frozen=True)
class Norm:
    """How long a perturbation is.

    Attributes:
        radius: the length that a bound stands for, given also the number of values.
        ahead: the change of length 1 that goes furthest along a vector.
        shorten: returns a vector, no longer than a radius.
    """

    radius: Callable[[float, int], float]
    ahead: Callable[[Tensor], Tensor]
    shorten: Callable[[Tensor, float], Tensor]


class PerturbationSearch:
    """A search for a perturbation.

    Args:
        subject: what to search.
        target: the class to lead to.
        generator: of the batches.
        bound: root mean square of the perturbation at most, or its largest value, where the box is
            1 wide.
        shape: of its coefficients.
        spread: makes the perturbation, (*S), of its coefficients, and keeps their length.
        norm: of the length.
    """

    def __init__(
        self,
        subject: Subject,
        target: int,
        generator: torch.Generator,
        bound: float,
        shape: tuple[int, ...],
        spread: Callable[[Tensor], Tensor],
        norm: Norm,
    ) -> None:
        self._subject, self._target, self._generator = subject, target, generator
        self._longest = norm.radius(bound, subject.inputs[0].numel())
        self._spread, self._norm = spread, norm
        self._coefficients = torch.zeros(shape)
        self._momentum = torch.zeros(shape)

    def advance(self, steps: int) -> None:
        """Go on for so many steps of a batch each."""
        for _ in range(steps):
            batch = self._subject.batch(self._target, self._generator)
            with torch.enable_grad():
                self._coefficients.requires_grad_(True)
                inputs = self._subject.box.clamp(self.stamp(batch))
                loss = loss_towards(self._target, self._subject.logits(inputs))
                (gradient,) = gradients_of(loss, [self._coefficients])
            self._momentum = MOMENTUM * self._momentum + _unit(gradient)
            step = self._longest * STRIDE * self._norm.ahead(self._momentum)
            moved = self._coefficients.detach() - step
            self._coefficients = self._norm.shorten(moved, self._longest)

    def effort(self, loss: float) -> float:
        """Return the loss: the bound is the same for all classes."""
        return loss

    def stamp(self, inputs: Tensor) -> Tensor:
        """Add the perturbation to inputs (N, *S)."""
        return inputs + self._subject.box.width * self._spread(self._coefficients)


def search_additive(
    subject: Subject, target: int, generator: torch.Generator, bound: float
) -> PerturbationSearch:
    """Search for a perturbation of any shape, bounded in L2."""
    shape = tuple(subject.inputs.shape[1:])
    return PerturbationSearch(subject, target, generator, bound, shape, lambda x: x, L2)


def search_additive_linf(
    subject: Subject, target: int, generator: torch.Generator, bound: float
) -> PerturbationSearch:
    """Search for a perturbation of any shape, bounded in L-infinity."""
    shape = tuple(subject.inputs.shape[1:])
    return PerturbationSearch(subject, target, generator, bound, shape, lambda x: x, L_INFINITY)


def search_smooth(
    subject: Subject, target: int, generator: torch.Generator, bound: float
) -> PerturbationSearch:
    """Search for a perturbation of low frequencies, bounded in L2; for maps (C, H, W)."""
    channels, height, width = subject.inputs.shape[1:]
    rows, columns = _cosines(height), _cosines(width)
    shape = (channels, rows.shape[1], columns.shape[1])
    return PerturbationSearch(
        subject, target, generator, bound, shape, lambda x: rows @ x @ columns.T, L2
    )


def _unit(vector: Tensor) -> Tensor:
    unit: Tensor = vector / vector.norm().clamp(min=1e-12)
    return unit


def _shorten(vector: Tensor, radius: float) -> Tensor:
    # Where a model lets no gradient through, nothing has moved.
    length = max(float(vector.norm()), 1e-12)
    return vector * min(1.0, radius / length)


L2 = Norm(lambda bound, count: bound * count**0.5, _unit, _shorten)
"""A bound is a root mean square."""

L_INFINITY = Norm(
    lambda bound, count: bound,
    torch.sign,
    lambda vector, radius: vector.clamp(-radius, radius),
)
"""A bound is the largest value."""


def _cosines(size: int) -> Tensor:
    """Return the lowest cosines of a side as orthonormal columns, (size, at most FREQUENCIES)."""
    places = torch.arange(size) + 0.5
    columns = torch.cos(torch.pi / size * places[:, None] * torch.arange(min(FREQUENCIES, size)))
    orthonormal: Tensor = columns / columns.norm(dim=0)
    return orthonormal
