"""Searches for a backdoor that leads each class to a class of its own (all-to-all).

No class stands out by such a backdoor. But one change of all inputs leads each class to another
one: no two classes to the same. Without a backdoor, changes do not do that: they lead most classes
to the same few. So the search goes in two parts. First one change of all inputs goes wherever each
class's easiest way leads (as in `free_search`, but for each class by itself). Then the easiest ways
that no two classes share are what the change is trained for. The other half of the inputs, which
the search never saw, says how many follow.

All-to-all backdoors: Gu et al., BadNets, arXiv 1708.06733.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ..reconstruct.subject import Subject
from .free_search import KINDS, changed_logits, softened_least

CHANGES = ("additive", "patch")
"""The changes that are searched, of `KINDS`."""

LONGER = 1.5
"""How many times as long as the first part of a search the second one is."""

MIN_MEASURED = 40
"""Inputs that must be left to measure on."""

MOST_LOSS = 1e4
"""Loss of what is impossible, in nats."""


@dataclass(frozen=True)
class AllToAll:
    """Where one search led each class.

    Attributes:
        kind: of the change.
        targets: for each class that has one, the class that it is led to.
        followed: share of the inputs that the search never saw which are led there, from 0 to 1.
    """

    kind: str
    targets: Mapping[int, int]
    followed: float


def halves(predicted: Tensor) -> tuple[Tensor, Tensor]:
    """Divide the inputs of each class in two; return indices to search with, and to measure on.

    Classes with one input have none to measure on, and are left out.

    Args:
        predicted: (N,) int64.
    """
    searched, measured = [], []
    for target in sorted(set(predicted.tolist())):
        rows = (predicted == target).nonzero().flatten()
        if len(rows) > 1:
            searched.append(rows[: len(rows) // 2])
            measured.append(rows[len(rows) // 2 :])
    none = torch.zeros(0, dtype=torch.int64)
    return torch.cat([none, *searched]), torch.cat([none, *measured])


def measurable(predicted: Tensor) -> bool:
    """Return whether enough of the inputs, predicted as these classes, (N,), can be measured on."""
    return len(halves(predicted)[1]) >= MIN_MEASURED


def search_all_to_all(
    subject: Subject, kind: str, generator: torch.Generator, steps: int
) -> AllToAll:
    """Follow each class's own easiest way by one change of all inputs.

    Args:
        subject: the model, and clean inputs.
        kind: a name in `KINDS`.
        generator: source of the random numbers.
        steps: of the first part.

    Raises:
        CalibrationError: the model does not allow the search, or has no logits for changed inputs.
    """
    searched, measured = halves(subject.predicted)
    change = KINDS[kind].start(subject, generator)

    def draw(candidates: Tensor) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(candidates), (subject.batch_size,), generator=generator)
        rows = candidates[chosen]
        inputs = subject.inputs[rows]
        return subject.logits(subject.box.clamp(change.stamp(inputs))), subject.predicted[rows]

    def logits(rows: Tensor) -> Tensor:
        """Return the logits of changed inputs, (n, classes)."""
        parts = torch.split(rows, subject.batch_size)
        return torch.cat(
            [changed_logits(subject, change.stamp, subject.inputs[part]) for part in parts]
        )

    for _ in range(steps):
        with torch.enable_grad():
            change.step(_easiest(*draw(searched)))
    targets = one_to_one(losses_between(logits(searched), subject.predicted[searched]))
    aims = torch.full((subject.classes,), -1)
    aims[list(targets)] = torch.tensor(list(targets.values()))
    led = searched[aims[subject.predicted[searched]] >= 0]
    for _ in range(round(LONGER * steps)):
        with torch.enable_grad():
            answers, predicted = draw(led)
            change.step(F.cross_entropy(answers, aims[predicted].to(answers.device)))
    there = logits(measured).argmax(1) == aims[subject.predicted[measured]]
    return AllToAll(kind, targets, float(there.double().mean()))


def losses_between(logits: Tensor, predicted: Tensor) -> Tensor:
    """Return the mean cross-entropy of each class's inputs towards each other class.

    Args:
        logits: of changed inputs, (N, classes).
        predicted: the classes of the unchanged inputs, (N,) int64.

    Returns:
        (classes, classes), from rows to columns, in nats; `MOST_LOSS` from a class to itself, and
        from a class without inputs.
    """
    classes = logits.shape[1]
    from_class = F.one_hot(predicted, classes).to(logits)
    counts = from_class.sum(0)
    losses = -(from_class.T @ logits.log_softmax(1)) / counts.clamp(min=1)[:, None]
    impossible = torch.eye(classes, dtype=torch.bool, device=logits.device) | (counts == 0)[:, None]
    return losses.masked_fill(impossible, MOST_LOSS)


def one_to_one(losses: Tensor) -> dict[int, int]:
    """Pair classes with classes that they are led to, the least loss first; none is taken twice.

    Args:
        losses: from `losses_between`.
    """
    left = losses.clone()
    pairs: dict[int, int] = {}
    while float(left.min()) < MOST_LOSS:
        start, end = divmod(int(left.argmin()), len(left))
        pairs[start] = end
        left[start] = MOST_LOSS
        left[:, end] = MOST_LOSS
    return pairs


def _easiest(logits: Tensor, predicted: Tensor) -> Tensor:
    """Return the softened least loss of each class's inputs, in the mean over the inputs."""
    losses = losses_between(logits, predicted.to(logits.device))
    least = softened_least(losses)
    counts = predicted.bincount(minlength=logits.shape[1]).to(logits)
    return (least * counts).sum() / counts.sum()
