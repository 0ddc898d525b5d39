"""Universal perturbations: one pattern of bounded length that is added to every input.

As in Moosavi-Dezfooli et al. 2017 (arXiv 1610.08401), but towards one class, and by projected
gradient descent. They find triggers that are spread over the image, which a mask cannot hold. The
length is a root mean square (L2), or the largest change of any value (L-infinity), which lets no
place stand out. They need a hundred clean inputs or more.
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
"""Length of a step, as a share of the bound."""

FREQUENCIES = 14
"""Number of frequencies of a smooth perturbation along each side, as in a discrete cosine
transform."""


@dataclass(frozen=True)
class Norm:
    """How the length of a perturbation is measured.

    Attributes:
        radius: returns the length that a bound stands for; it takes the bound and the number of
            values.
        ahead: returns the change of length 1 that goes furthest along a vector.
        shorten: returns a vector, shortened to at most a radius.
    """

    radius: Callable[[float, int], float]
    ahead: Callable[[Tensor], Tensor]
    shorten: Callable[[Tensor, float], Tensor]


class PerturbationSearch:
    """A search for a perturbation.

    Args:
        subject: the model to search.
        target: the class to lead to.
        generator: source of the random numbers.
        bound: the largest root mean square of the perturbation, or its largest value, if the box is
            1 wide.
        shape: shape of the perturbation's coefficients.
        spread: makes the perturbation, (*S), from its coefficients, and keeps their length.
        norm: how the length is measured.
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
        self._coefficients = torch.zeros(shape, device=subject.device)
        self._momentum = torch.zeros_like(self._coefficients)

    def advance(self, steps: int) -> None:
        """Take `steps` more steps, of a batch each."""
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
    rows, columns = (_cosines(side).to(subject.device) for side in (height, width))
    shape = (channels, rows.shape[1], columns.shape[1])
    return PerturbationSearch(
        subject, target, generator, bound, shape, lambda x: rows @ x @ columns.T, L2
    )


def _unit(vector: Tensor) -> Tensor:
    unit: Tensor = vector / vector.norm().clamp(min=1e-12)
    return unit


def _shorten(vector: Tensor, radius: float) -> Tensor:
    # If a model lets no gradient through, the vector is still 0.
    length = max(float(vector.norm()), 1e-12)
    return vector * min(1.0, radius / length)


L2 = Norm(lambda bound, count: bound * count**0.5, _unit, _shorten)
"""The bound is a root mean square."""

L_INFINITY = Norm(
    lambda bound, count: bound,
    torch.sign,
    lambda vector, radius: vector.clamp(-radius, radius),
)
"""The bound is the largest absolute value."""


def _cosines(size: int) -> Tensor:
    """Return the lowest cosines of a side as orthonormal columns, (size, at most FREQUENCIES)."""
    places = torch.arange(size) + 0.5
    columns = torch.cos(torch.pi / size * places[:, None] * torch.arange(min(FREQUENCIES, size)))
    orthonormal: Tensor = columns / columns.norm(dim=0)
    return orthonormal
