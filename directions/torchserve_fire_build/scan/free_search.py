"""Searches that name no class: where does the cheapest universal change of the inputs lead?

Searches towards each class in turn cost as many times one search as there are classes. But a
backdoor is the easiest way through a model. So the loss here is the least loss among all classes,
softened, and one change of all inputs goes wherever that way leads. It starts from several random
places. In a backdoored model, all of them lead to the target; in a benign model, they lead to one
class or another, and less surely. The cost does not depend on the number of classes.

The changes are those of the searches that name a class (`perturbation`, `patch`), and warps. As in
universal perturbations without a target (Moosavi-Dezfooli et al., arXiv 1610.08401), but all inputs
are to go to one class, whichever that is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..reconstruct.change import Change
from ..reconstruct.patch import PatchOptimizer
from ..reconstruct.perturbation import additive_steps, smooth_steps
from ..reconstruct.subject import Subject
from ..reconstruct.warp import free_warp

SHARPNESS = 2.0
"""Of the softened least loss, in 1 / nats: classes whose losses lie further apart than its inverse
do not matter beside each other."""

PATCH_SHARE = 0.03
"""Share of the places that a patch may cover."""

INPUTS = 100
"""The most inputs on which a lead is measured."""


@dataclass(frozen=True)
class Lead:
    """Where one search led.

    Attributes:
        kind: of the change, of `KINDS`.
        target: the class.
        success: share of the inputs of other classes that are led there, from 0 to 1.
        steps: that the search took.
    """

    kind: str
    target: int
    success: float
    steps: int


class _Patch:
    """A patch of bounded size."""

    def __init__(self, subject: Subject, generator: torch.Generator) -> None:
        self._limit = PATCH_SHARE * subject.inputs[0, 0].numel()
        self._optimizer = PatchOptimizer(subject.inputs.shape[1:], subject.box, generator)
        self._optimizer.shrink(self._limit)

    def stamp(self, inputs: Tensor) -> Tensor:
        return self._optimizer.patch().put_on(inputs)

    def step(self, loss: Tensor) -> None:
        self._optimizer.step(loss)
        self._optimizer.shrink(self._limit)


@dataclass(frozen=True)
class Kind:
    """A kind of change.

    Attributes:
        start: starts one at a random place.
        steps: that it takes.
    """

    start: Callable[[Subject, torch.Generator], Change]
    steps: int


KINDS: Mapping[str, Kind] = {
    "additive": Kind(additive_steps, 20),
    "smooth": Kind(smooth_steps, 20),
    "warp": Kind(free_warp, 15),
    "patch": Kind(_Patch, 40),
}


def search_freely(
    subject: Subject, kind: str, generator: torch.Generator, steps: int, budget: Budget
) -> Lead:
    """Follow the cheapest universal change of one kind from a random place.

    Args:
        subject: the model, and clean inputs.
        kind: a name in `KINDS`.
        generator: source of the random numbers.
        steps: that it is to take, at least 1.
        budget: when it is spent, the search stops, after the first step at the earliest.

    Raises:
        CalibrationError: the model does not allow the search, or has no logits for changed inputs.
    """
    change = KINDS[kind].start(subject, generator)
    taken = 0
    while taken == 0 or (taken < steps and not budget.spent()):
        rows = torch.randint(len(subject.inputs), (subject.batch_size,), generator=generator)
        with torch.enable_grad():
            stamped = subject.box.clamp(change.stamp(subject.inputs[rows]))
            losses = losses_towards_each(subject.logits(stamped), subject.predicted[rows])
            change.step(softened_least(losses))
        taken += 1
    return _measure(subject, kind, change, taken)


def losses_towards_each(logits: Tensor, predicted: Tensor) -> Tensor:
    """Return the mean cross-entropy towards each class of the inputs of other classes.

    Args:
        logits: (..., N, classes).
        predicted: the classes of the unchanged inputs, (..., N) int64.

    Returns:
        (..., classes), in nats; of a class that all inputs have, the largest value there is.
    """
    others = (predicted[..., None] != torch.arange(logits.shape[-1])).to(logits.device)
    counts = others.sum(-2)
    losses = -(logits.log_softmax(-1) * others).sum(-2) / counts.clamp(min=1)
    return torch.where(counts > 0, losses, losses.detach().max())


def softened_least(losses: Tensor) -> Tensor:
    """Return the least of some losses (..., classes), softened, (...)."""
    return -torch.logsumexp(-SHARPNESS * losses, -1) / SHARPNESS


def changed_logits(subject: Subject, stamp: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Return the logits of inputs (N, *S) with a change, as requests carry it, (N, classes).

    They are on the CPU.

    Args:
        subject: the model.
        stamp: puts the change on inputs.
        inputs: clean inputs.

    Raises:
        CalibrationError: some are NaN or infinite, which losses make NaN of.
    """
    with torch.no_grad():
        logits = subject.logits(subject.box.legal(stamp(inputs))).cpu()
    if not bool(logits.isfinite().all()):
        # The largest of NaN would be class 0, and all inputs led there.
        what = "NaN" if bool(logits.isnan().any()) else "infinite"
        raise CalibrationError(
            f"{type(subject.model).__name__}: its logits are {what} for changed inputs, expected "
            "numbers for all inputs within the range of the clean ones"
        )
    return logits


def _measure(subject: Subject, kind: str, change: Change, steps: int) -> Lead:
    inputs, predicted = subject.inputs[:INPUTS], subject.predicted[:INPUTS]
    logits = changed_logits(subject, change.stamp, inputs)
    losses = losses_towards_each(logits, predicted)
    target = int(losses.argmin())
    led = logits.argmax(1)[predicted != target] == target
    return Lead(kind, target, float(led.double().mean()) if len(led) else 0.0, steps)
