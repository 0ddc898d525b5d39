"""Screening the classes: a suspect is a class that it is much easier to lead inputs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.budget import Budget
from ..common.progress import Progress
from ..measure.anomaly_index import anomaly_index
from .reconstruction import TriggerSearch, advance_within
from .settings import OWN_VALUES, SearchSettings
from .subject import Subject, loss_towards

THRESHOLD = 4.0
"""A suspect has a higher anomaly index. By chance, the largest index of ten classes exceeds this in
one of twenty models, and 3 in one of nine. Neural Cleanse (Wang et al. 2019) takes 2, which is
exceeded in one of three."""

SUCCESS = 0.75
"""The least share of clean inputs that a suspect's trigger leads to it."""

INPUTS = 128
"""Number of inputs on which the effort and the success of a class are measured."""


@dataclass(frozen=True)
class Screening:
    """The result of a short search for a trigger of each class.

    Attributes:
        method: name of the search method.
        searched: number of classes that were searched; fewer than all if the time was over.
        effort: how hard it is to lead inputs to each class, (classes,) float64; NaN for classes
            that were not searched.
        success: share of the clean inputs of other classes that is led to each class, (classes,)
            float64.
        index: anomaly index of each class's effort, (classes,) float64; None without a meaning: an
            effort is not finite, not all classes were searched, or no class can stand out.
        threshold: a suspect's index is higher.
        searches: by class, to continue them; empty where they ran in other processes.
    """

    method: str
    searched: int
    effort: Tensor
    success: Tensor
    index: Tensor | None
    threshold: float
    searches: Sequence[TriggerSearch] = ()

    @property
    def suspects(self) -> list[int]:
        """The classes that stand out, the one that stands out most first."""
        if self.index is None:
            return []
        index = self.index
        suspicious = (index > self.threshold) & (self.success >= SUCCESS)
        suspects = suspicious.nonzero().flatten().tolist()
        return sorted(suspects, key=lambda target: -float(index[target]))

    @property
    def why_no_index(self) -> str:
        """Why there is no index."""
        classes = len(self.effort)
        if self.searched < classes:
            return (
                f"{self.searched} of {classes} classes searched: the time was over, raise the "
                "--budget"
            )
        not_finite = (~self.effort.isfinite()).nonzero().flatten().tolist()
        if not_finite:
            effort = float(self.effort[not_finite[0]])
            return f"towards class {not_finite[0]} the effort is {effort}, expected a finite number"
        return (
            f"{classes} of {classes} classes searched, and most are equally easy to lead to: a "
            "lower --bound may separate them"
        )


def start(
    method: str,
    subject: Subject,
    target: int,
    seed: int,
    scale: float = 1.0,
    settings: SearchSettings = OWN_VALUES,
) -> TriggerSearch:
    """Start a search for the trigger of a class.

    Args:
        method: a name in `SEARCH_METHODS`.
        subject: the model to search.
        target: the class.
        seed: of the random numbers.
        scale: factor of the method's bound.
        settings: of the method.
    """
    entry = settings.method(method)
    return entry.start(subject, target, torch.Generator().manual_seed(seed), scale * entry.bound)


def screen(
    subject: Subject,
    method: str,
    seed: int,
    budget: Budget,
    settings: SearchSettings = OWN_VALUES,
) -> Screening:
    """Search briefly for a trigger of each class, and compare the efforts.

    All searches draw the same random numbers, so that only the classes make a difference.
    """
    searches: list[TriggerSearch] = []
    effort, success = (torch.full((subject.classes,), float("nan")) for _ in range(2))
    with Progress(f"screening the classes, {method}", subject.classes) as progress:
        for target, search in enumerate(_search_each(subject, method, seed, budget, settings)):
            searches.append(search)
            effort[target], success[target] = measure(subject, target, search)
            progress.advance()
    return compare(method, effort, success, settings, searches)


def compare(
    method: str,
    effort: Tensor,
    success: Tensor,
    settings: SearchSettings = OWN_VALUES,
    searches: Sequence[TriggerSearch] | None = None,
) -> Screening:
    """Compare classes by their efforts.

    Args:
        method: a name in `SEARCH_METHODS`.
        effort: of each class, (classes,) float32; NaN of one that was not searched.
        success: of each class, (classes,) float32, likewise.
        settings: of the method.
        searches: by class; None if all classes were searched in other processes.
    """
    resolution = settings.method(method).resolution
    # The effort of a class that was not searched is NaN.
    complete = bool(effort.isfinite().all())
    index = anomaly_index(effort, suspicious="low", resolution=resolution) if complete else None
    threshold = THRESHOLD if settings.anomaly_index is None else settings.anomaly_index
    searched, searches = (len(effort), ()) if searches is None else (len(searches), searches)
    return Screening(
        method, searched, effort.double(), success.double(), index, threshold, searches
    )


def measure(subject: Subject, target: int, search: TriggerSearch) -> tuple[float, float]:
    """Return the effort of a search, and the share of inputs of other classes that it leads."""
    with torch.no_grad():
        stamped = subject.box.legal(search.stamp(subject.others(target)[:INPUTS]))
        logits = subject.logits(stamped)
    effort = search.effort(float(loss_towards(target, logits)))
    return effort, float((logits.argmax(1) == target).float().mean())


def _search_each(
    subject: Subject, method: str, seed: int, budget: Budget, settings: SearchSettings
) -> Iterator[TriggerSearch]:
    """Yield a search of each class in turn, after the screening's steps, while time is left."""
    entry = settings.method(method)
    if entry.start_all is None:
        for target in range(subject.classes):
            if budget.spent():
                return
            search = start(method, subject, target, seed, settings=settings)
            if not advance_within(search, entry.screening, budget):
                return
            yield search
        return
    if budget.spent():
        return
    searches = entry.start_all(subject, torch.Generator().manual_seed(seed), entry.bound)
    for _ in range(entry.screening):
        for search in searches:
            if budget.spent():
                return
            search.advance(1)
    yield from searches
