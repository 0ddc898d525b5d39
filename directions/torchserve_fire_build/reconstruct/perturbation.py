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
from .change import ChangeSearch
from .input_box import InputBox
from .subject import Subject

MOMENTUM = 0.9
STRIDE = 1 / 16
"""Length of a step, as a share of the bound."""

FREE_STRIDE = 1 / 8
"""The same where no class is named: fewer steps are taken."""

START = 0.5
"""Length of a perturbation that starts at a random place, as a share of the bound."""

ADDITIVE_BOUND, SMOOTH_BOUND = 7 / 255, 14 / 255
"""Bounds, as root mean squares, of a perturbation of any shape and of one of low frequencies."""

FREE_SMOOTH_BOUND = 7 / 255
"""The same of one of low frequencies where no class is named: with more, benign models are led
somewhere, too."""

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


class Perturbation:
    """A perturbation that is moved down the gradient of a loss, and kept within its bound.

    Args:
        box: the values that inputs may have.
        longest: the largest length of the coefficients, if the box is 1 wide.
        shape: shape of the perturbation's coefficients.
        spread: makes the perturbation, (*S), from its coefficients, and keeps their length.
        norm: how the length is measured.
        generator: draws where it starts; None to start without a perturbation.
    """

    def __init__(
        self,
        box: InputBox,
        longest: float,
        shape: tuple[int, ...],
        spread: Callable[[Tensor], Tensor],
        norm: Norm,
        generator: torch.Generator | None = None,
    ) -> None:
        self._box, self._longest = box, longest
        self._spread, self._norm = spread, norm
        self._momentum = torch.zeros(shape).to(box.low.device)
        self._coefficients = torch.zeros_like(self._momentum)
        if generator is not None:
            drawn = torch.randn(shape, generator=generator).to(box.low.device)
            self._coefficients = START * longest * norm.ahead(drawn)
        self._stride = STRIDE if generator is None else FREE_STRIDE

    def stamp(self, inputs: Tensor) -> Tensor:
        """Add the perturbation to inputs (N, *S), differentiable where gradients are enabled."""
        self._coefficients.requires_grad_(torch.is_grad_enabled())
        return inputs + self._box.width * self._spread(self._coefficients)

    def step(self, loss: Tensor) -> None:
        """Take a step down the gradient of a loss that was computed from `stamp`."""
        (gradient,) = gradients_of(loss, [self._coefficients])
        self._momentum = MOMENTUM * self._momentum + _unit(gradient)
        step = self._longest * self._stride * self._norm.ahead(self._momentum)
        self._coefficients = self._norm.shorten(self._coefficients.detach() - step, self._longest)


def search_additive(
    subject: Subject, target: int, generator: torch.Generator, bound: float
) -> ChangeSearch:
    """Search for a perturbation of any shape, bounded in L2."""
    return ChangeSearch(subject, target, generator, _any_shape(subject, bound, L2))


def search_additive_linf(
    subject: Subject, target: int, generator: torch.Generator, bound: float
) -> ChangeSearch:
    """Search for a perturbation of any shape, bounded in L-infinity."""
    return ChangeSearch(subject, target, generator, _any_shape(subject, bound, L_INFINITY))


def search_smooth(
    subject: Subject, target: int, generator: torch.Generator, bound: float
) -> ChangeSearch:
    """Search for a perturbation of low frequencies, bounded in L2; for maps (C, H, W)."""
    return ChangeSearch(subject, target, generator, _smooth(subject, bound))


def additive_steps(subject: Subject, generator: torch.Generator) -> Perturbation:
    """Start a perturbation of any shape at a random place, within `ADDITIVE_BOUND`."""
    return _any_shape(subject, ADDITIVE_BOUND, L2, generator)


def smooth_steps(subject: Subject, generator: torch.Generator) -> Perturbation:
    """Start a perturbation of low frequencies at a random place, within `FREE_SMOOTH_BOUND`."""
    return _smooth(subject, FREE_SMOOTH_BOUND, generator)


def _any_shape(
    subject: Subject, bound: float, norm: Norm, generator: torch.Generator | None = None
) -> Perturbation:
    inputs = subject.inputs
    longest = norm.radius(bound, inputs[0].numel())
    return Perturbation(subject.box, longest, tuple(inputs.shape[1:]), lambda x: x, norm, generator)


def _smooth(
    subject: Subject, bound: float, generator: torch.Generator | None = None
) -> Perturbation:
    channels, height, width = subject.inputs.shape[1:]
    rows, columns = (_cosines(side).to(subject.device) for side in (height, width))
    shape = (channels, rows.shape[1], columns.shape[1])
    longest = L2.radius(bound, subject.inputs[0].numel())
    return Perturbation(subject.box, longest, shape, lambda x: rows @ x @ columns.T, L2, generator)


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
