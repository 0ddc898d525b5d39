"""Searches at one place each: where does the cheapest patch lead that covers this place only?

A trigger is often a patch that the model knows at the place where it was trained, and hardly
anywhere else. A search for a patch and its place at once finds neither on a large image. But at the
right place, a patch that names no class (as in `free_search`) arrives at the target within a few
steps; elsewhere, and in a benign model, it gets nowhere in so few. So small patches are searched
that lie side by side and overlap by half, some places in each batch, a few inputs for each.

The cost depends neither on the number of classes nor on the size of the images, but for that of a
pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..common.progress import Progress
from ..reconstruct.subject import Subject
from ..samples.predict import gradients_of
from .free_search import changed_logits, losses_towards_each, softened_least

SIDE = 1 / 6
"""Height and width of a patch, as a share of the image's."""

STRIDE = 1 / 2
"""Distance of neighbouring places, as a share of the patch."""

STEPS = 8
"""With more, patches get somewhere in benign models, too."""

PER_PLACE = 4
"""Inputs of each step, for each place."""

MEASURED = 32
"""Inputs on which each place is measured."""

RATE, BETAS = 0.5, (0.9, 0.99)
FIRST = 0.5
"""Standard deviation of the patterns' logits at the start."""


@dataclass(frozen=True)
class Placed:
    """Where the patch at one place led.

    Attributes:
        top: first row of the place.
        left: first column.
        target: the class.
        success: share of the inputs of other classes that are led there, from 0 to 1.
    """

    top: int
    left: int
    target: int
    success: float


class Patches:
    """Patches at some places, each on inputs of its own.

    Attributes:
        masks: 1 where a patch lies, else 0, (places, 1, 1, H, W).
        logits: of the patterns, (places, 1, C, H, W), differentiable.
    """

    def __init__(
        self, subject: Subject, corners: Sequence[tuple[int, int]], generator: torch.Generator
    ) -> None:
        """Start with random patterns.

        Args:
            subject: the model, and clean inputs.
            corners: first row and column of each place.
            generator: draws the patterns.
        """
        channels, *size = subject.inputs.shape[1:]
        height, width = (_side(length) for length in size)
        masks = torch.zeros(len(corners), 1, 1, *size)
        for mask, (top, left) in zip(masks, corners, strict=True):
            mask[..., top : top + height, left : left + width] = 1
        logits = FIRST * torch.randn(len(corners), 1, channels, *size, generator=generator)
        self.masks = masks.to(subject.device)
        self.logits = logits.to(subject.device).requires_grad_()
        self._box = subject.box
        self._optimizer = torch.optim.Adam([self.logits], RATE, BETAS)

    def stamp(self, inputs: Tensor) -> Tensor:
        """Put each patch on its inputs, (places * n, C, H, W), the first n the first place's."""
        inputs = inputs.view(len(self.masks), -1, *inputs.shape[1:])
        patterns = self._box.low + self._box.width * self.logits.sigmoid()
        return (inputs * (1 - self.masks) + self.masks * patterns).flatten(0, 1)

    def stamp_one(self, place: int, inputs: Tensor) -> Tensor:
        """Put the patch of one place, by its index, on inputs (N, C, H, W)."""
        pattern = self._box.low + self._box.width * self.logits[place].sigmoid()
        return torch.where(self.masks[place] > 0, pattern, inputs)

    def step(self, loss: Tensor) -> None:
        """Take a step down the gradient of a loss that was computed from `stamp`."""
        (self.logits.grad,) = gradients_of(loss, [self.logits])
        self._optimizer.step()


def places_in(height: int, width: int) -> list[tuple[int, int]]:
    """Return the first row and column of each place in an image of a height and a width."""
    return list(itertools.product(_starts(height), _starts(width)))


def search_places(
    subject: Subject, generator: torch.Generator, steps: int, budget: Budget
) -> list[Placed]:
    """Search for the patch at each place that leads somewhere.

    Args:
        subject: the model, and clean inputs.
        generator: source of the random numbers.
        steps: that each search is to take, at least 1.
        budget: when it is spent, the search stops.

    Raises:
        CalibrationError: the time was over before all places were searched; or the model does not
            allow the search, or has no logits for inputs with patches.
    """
    corners = places_in(*subject.inputs.shape[2:])
    together = max(1, subject.batch_size // PER_PLACE)
    found: list[Placed] = []
    with Progress("searching where small patches lead", len(corners)) as progress:
        for start in range(0, len(corners), together):
            if budget.spent():
                raise CalibrationError(
                    f"the time was over after {len(found)} of {len(corners)} places"
                )
            of_batch = corners[start : start + together]
            found += _search(subject, of_batch, generator, steps)
            progress.advance(len(of_batch))
    return found


def advance(subject: Subject, patches: Patches, generator: torch.Generator) -> None:
    """Take a step at each of some places, side by side."""
    rows = torch.randint(len(subject.inputs), (len(patches.masks), PER_PLACE), generator=generator)
    with torch.enable_grad():
        stamped = subject.box.clamp(patches.stamp(subject.inputs[rows.flatten()]))
        logits = subject.logits(stamped).view(*rows.shape, -1)
        losses = losses_towards_each(logits, subject.predicted[rows])
        patches.step(softened_least(losses).sum())


def measure(
    subject: Subject, patches: Patches, place: int, generator: torch.Generator
) -> tuple[int, float]:
    """Return the class to which the patch at one place leads, and the share of inputs led there."""
    # A place at a time takes less memory than all together, and less time on a CPU.
    rows = torch.randint(len(subject.inputs), (MEASURED,), generator=generator)
    stamp = partial(patches.stamp_one, place)
    logits = changed_logits(subject, stamp, subject.inputs[rows])
    predicted = subject.predicted[rows]
    target = int(losses_towards_each(logits, predicted).argmin())
    others = predicted != target
    led = (logits.argmax(1) == target) & others
    return target, float(led.sum().double() / others.sum().clamp(min=1))


def _search(
    subject: Subject, corners: Sequence[tuple[int, int]], generator: torch.Generator, steps: int
) -> list[Placed]:
    """Search at some places side by side."""
    patches = Patches(subject, corners, generator)
    for _ in range(steps):
        advance(subject, patches, generator)
    return [
        Placed(top, left, *measure(subject, patches, place, generator))
        for place, (top, left) in enumerate(corners)
    ]


def _side(length: int) -> int:
    """Return the side of a patch in an image's side of a length."""
    return max(1, round(SIDE * length))


def _starts(length: int) -> list[int]:
    """Return where patches begin on an image's side of a length, the last one at its end."""
    last = length - _side(length)
    count = round(last / max(1.0, STRIDE * _side(length))) + 1
    return torch.linspace(0, last, count).round().int().tolist()
