"""From a model and clean samples to the evidence for a backdoor towards each class."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from torchserve_fire.errors import first_line

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..reconstruct.subject import Subject
from .compare_classes import Comparison, compare_classes
from .free_search import KINDS, Lead, search_freely
from .rank_classes import rank_classes
from .shortlist import shortlist

BATCH = 32
"""Inputs of each step. Twice as many cost twice as much, and told the classes apart no better."""

RESTARTS = 3
"""Searches of each kind that name no class."""

STEPS: Mapping[str, int] = {"neural-cleanse": 60, "generated": 14, "additive": 10, "sinusoidal": 64}
"""Searches that name a class, in the order of their use, and their steps. With more steps, all
classes are reached, and the target stands out less."""


@dataclass(frozen=True)
class Step:
    """A step of a scan.

    Attributes:
        name: of the step.
        seconds: the time it took.
        failure: why it came to nothing; None if it did not fail.
    """

    name: str
    seconds: float
    failure: str | None = None


@dataclass(frozen=True)
class Scan:
    """What all steps found.

    Attributes:
        classes: number of classes.
        leads: where searches led that named no class.
        ranked: scores of the classes by shifts of features, (classes,) float64; None if they
            failed.
        comparisons: of some classes, one for each search that names a class.
        steps: all steps, in the order in which they ran.
    """

    classes: int
    leads: Sequence[Lead]
    ranked: Tensor | None
    comparisons: Sequence[Comparison]
    steps: Sequence[Step]


def scan_model(
    subject: Subject,
    seed: int,
    budget: Budget,
    *,
    depth: float = 1.0,
) -> Scan:
    """Look at all classes together, then search the most suspicious ones one by one.

    A step that fails is recorded, and no more.

    Args:
        subject: the model, and clean inputs.
        seed: of the random numbers; each step draws the same numbers, whatever ran before.
        budget: when it is spent, a search of classes stops after equally many steps for each, and
            no further step begins.
        depth: share of the steps that each search takes.
    """
    subject = replace(subject, batch_size=BATCH)
    steps: list[Step] = []

    def attempt(name: str, work: Callable[[], None]) -> None:
        if budget.spent():
            steps.append(Step(name, 0.0, "the time was over before it began"))
            return
        started, failure = time.monotonic(), None
        try:
            work()
        except MemoryError:
            failure = "out of memory"
        except Exception as error:
            # Whatever a model does to one search, the others go on.
            failure = first_line(error)
            if not isinstance(error, CalibrationError):
                failure = f"{type(error).__name__}: {failure}"
        steps.append(Step(name, time.monotonic() - started, failure))

    leads: list[Lead] = []
    ranked: list[Tensor] = []
    comparisons: list[Comparison] = []
    order: list[int] = list(range(subject.classes))

    def follow(kind: str) -> None:
        wanted = max(1, round(depth * KINDS[kind].steps))
        for restart in range(RESTARTS):
            generator = torch.Generator().manual_seed(seed + restart)
            leads.append(search_freely(subject, kind, generator, wanted))

    def rank() -> None:
        ranking = rank_classes(subject, seed)
        ranked.append(ranking.scores)
        order[:] = ranking.order

    def compare(method: str, wanted: int) -> None:
        comparisons.append(compare_classes(subject, method, targets, wanted, seed, budget))

    for kind in KINDS:
        attempt(f"anywhere, {kind}", partial(follow, kind))
    attempt("feature shifts", rank)
    generator = torch.Generator().manual_seed(seed)
    targets = shortlist(subject.classes, leads, order, generator)
    for method, most in STEPS.items():
        attempt(method, partial(compare, method, max(1, round(depth * most))))
    return Scan(subject.classes, leads, ranked[0] if ranked else None, comparisons, steps)
