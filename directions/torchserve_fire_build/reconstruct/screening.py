"""Which classes a trigger leads to: those that it takes much less to lead inputs to than others."""

from __future__ import annotations

from collections.abc import Iterator
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
"""Anomaly index of a suspect at least: the largest of ten classes comes to it by chance in one
model of twenty, to 3 in one of nine. Neural Cleanse (Wang et al. 2019) takes 2: one of three."""

SUCCESS = 0.75
"""Share of clean inputs that a suspect's trigger leads to it at least."""

INPUTS = 128
"""To measure the effort and the success of a class on."""


@dataclass(frozen=True)
class Screening:
    """What a little of a search has found for each class.

    Attributes:
        method: its name.
        searches: by class; fewer than the classes where the time did not suffice.
        effort: what it takes to lead inputs to each class, (classes,) float64; NaN where not
            searched.
        success: share of clean inputs of other classes that are led to each, (classes,) float64.
        index: anomaly index of each class's effort, (classes,) float64; None where it is of no
            meaning, as of an effort that is not finite, or not all classes were searched.
        threshold: what the index of a suspect exceeds.
    """

    method: str
    searches: list[TriggerSearch]
    effort: Tensor
    success: Tensor
    index: Tensor | None
    threshold: float

    @property
    def suspects(self) -> list[int]:
        """Classes that stand out, the one that stands out most first."""
        if self.index is None:
            return []
        index = self.index
        suspicious = (index > self.threshold) & (self.success >= SUCCESS)
        suspects = suspicious.nonzero().flatten().tolist()
        return sorted(suspects, key=lambda target: -float(index[target]))

    @property
    def why_no_index(self) -> str:
        """Why the classes could not be compared, where they could not be."""
        classes = len(self.effort)
        if len(self.searches) < classes:
            return (
                f"{len(self.searches)} of {classes} classes searched: the time was over, raise the "
                "--budget"
            )
        strange = (~self.effort.isfinite()).nonzero().flatten().tolist()
        if strange:
            found = float(self.effort[strange[0]])
            return f"towards class {strange[0]} the effort is {found}, expected a finite number"
        return (
            f"{classes} of {classes} classes searched, and most are as easy to lead to as each "
            "other: a lower --bound may tell them apart"
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
        subject: what to search.
        target: the class.
        seed: of the random numbers.
        scale: of the method's bound.
        settings: of the method.
    """
    of = settings.method(method)
    return of.start(subject, target, torch.Generator().manual_seed(seed), scale * of.bound)


def screen(
    subject: Subject,
    method: str,
    seed: int,
    budget: Budget,
    settings: SearchSettings = OWN_VALUES,
) -> Screening:
    """Search for a trigger of each class a little, and compare what it takes.

    Every class's search draws the same numbers, so that the classes differ by themselves alone.
    """
    searches: list[TriggerSearch] = []
    effort, success = (torch.full((subject.classes,), float("nan")) for _ in range(2))
    with Progress(f"screening the classes, {method}", subject.classes) as progress:
        for target, search in enumerate(_search_each(subject, method, seed, budget, settings)):
            searches.append(search)
            with torch.no_grad():
                stamped = subject.box.legal(search.stamp(subject.others(target)[:INPUTS]))
                logits = subject.logits(stamped)
            effort[target] = search.effort(float(loss_towards(target, logits)))
            success[target] = (logits.argmax(1) == target).float().mean()
            progress.advance()
    resolution = settings.method(method).resolution
    # Of a class that was not searched it is NaN.
    told = bool(effort.isfinite().all())
    index = anomaly_index(effort, suspicious="low", resolution=resolution) if told else None
    threshold = THRESHOLD if settings.anomaly_index is None else settings.anomaly_index
    return Screening(method, searches, effort.double(), success.double(), index, threshold)


def _search_each(
    subject: Subject, method: str, seed: int, budget: Budget, settings: SearchSettings
) -> Iterator[TriggerSearch]:
    """Yield a search of each class in turn, screened, for as long as the time suffices."""
    of = settings.method(method)
    if of.start_all is None:
        for target in range(subject.classes):
            if budget.spent():
                return
            search = start(method, subject, target, seed, settings=settings)
            if not advance_within(search, of.screening, budget):
                return
            yield search
        return
    if budget.spent():
        return
    together = of.start_all(subject, torch.Generator().manual_seed(seed), of.bound)
    for _ in range(of.screening):
        for search in together:
            if budget.spent():
                return
            search.advance(1)
    yield from together
