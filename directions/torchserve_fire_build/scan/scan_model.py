"""From a model and clean samples to the evidence for a backdoor towards each class."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from torchserve_fire.errors import first_line

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..common.progress import Progress
from ..common.step_cache import NO_CACHE, StepCache
from ..reconstruct.subject import Subject
from .all_to_all import CHANGES, AllToAll, measurable, search_all_to_all
from .compare_classes import Comparison, compare_classes
from .evidence import evidence_of
from .findings import ALL_TO_ALL_RESTARTS, LEAST_DEPTH, RANKING, RESTARTS, STEPS, Scan, Step
from .free_search import KINDS, Lead, search_freely
from .rank_classes import rank_classes
from .shortlist import ALL, shortlist
from .verdict import judge

logger = logging.getLogger(__name__)

BATCH = 32
"""Inputs of each step. Twice as many cost twice as much, and told the classes apart no better."""

SURE = 0.99
"""Once a class is this likely, no further search begins: it could only make the class likelier."""


def scan_model(
    subject: Subject,
    seed: int,
    budget: Budget,
    *,
    depth: float = 1.0,
    to_the_end: bool = False,
    cache: StepCache = NO_CACHE,
) -> Scan:
    """Look at all classes together, then search the most suspicious ones one by one.

    A step that fails is recorded, and no more. The searches end once a class is surely found.

    Args:
        subject: the model, and clean inputs.
        seed: of the random numbers; each step draws the same numbers, whatever ran before.
        budget: when it is spent, a search stops, one of classes after equally many steps for each,
            and no further step begins.
        depth: share of the steps that each search takes.
        to_the_end: whether all searches run, even if a class is surely found before.
        cache: keeps what finished steps find.
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
    comparisons: list[Comparison] = []
    all_to_all: list[AllToAll] = []
    order: list[int] = list(range(subject.classes))

    def follow(kind: str) -> None:
        wanted = max(1, round(depth * KINDS[kind].steps))
        name = f"anywhere, {kind}: {wanted} steps"
        kept = _kept(cache, name)
        if kept is not None:
            pairs = zip(kept["targets"].tolist(), kept["success"].tolist(), strict=True)
            leads.extend(Lead(kind, target, success, wanted) for target, success in pairs)
            return
        found: list[Lead] = []
        with Progress(f"searching where changes lead, {kind}", RESTARTS * wanted) as progress:
            for restart in range(RESTARTS):
                if not found or not budget.spent():
                    generator = torch.Generator().manual_seed(seed + restart)
                    found.append(search_freely(subject, kind, generator, wanted, budget))
                    progress.advance(found[-1].steps)
        taken = sum(lead.steps for lead in found)
        _require_enough(taken, RESTARTS * KINDS[kind].steps)
        leads.extend(found)
        # What the time has cut short would differ the next time.
        if taken < RESTARTS * wanted:
            return
        targets = torch.tensor([lead.target for lead in found])
        success = torch.tensor([lead.success for lead in found], dtype=torch.float64)
        cache.keep(name, {"targets": targets, "success": success})

    def follow_each(kind: str) -> None:
        wanted = max(1, round(depth * KINDS[kind].steps))
        for restart in range(ALL_TO_ALL_RESTARTS):
            name = f"all to all, {kind}: {wanted} steps, from place {restart}"
            kept = _kept(cache, name)
            if kept is not None:
                led = dict(kept["pairs"].tolist())
                all_to_all.append(AllToAll(kind, led, float(kept["followed"])))
                continue
            if restart and budget.spent():
                raise CalibrationError("the time was over before all of its searches began")
            generator = torch.Generator().manual_seed(seed + restart)
            result = search_all_to_all(subject, kind, generator, wanted)
            all_to_all.append(result)
            pairs = torch.tensor(list(result.targets.items())).view(-1, 2)
            followed = torch.tensor(result.followed, dtype=torch.float64)
            cache.keep(name, {"pairs": pairs, "followed": followed})

    def rank() -> None:
        kept = _kept(cache, RANKING)
        scores = rank_classes(subject, seed) if kept is None else kept["scores"]
        if kept is None:
            cache.keep(RANKING, {"scores": scores})
        order[:] = scores.argsort(descending=True, stable=True).tolist()

    def compare(method: str, wanted: int) -> None:
        name = f"{method}: {wanted} steps towards {targets}"
        kept = _kept(cache, name)
        if kept is not None:
            comparisons.append(Comparison(method, targets, wanted, **kept))
            return
        found = compare_classes(subject, method, targets, wanted, seed, budget)
        _require_enough(found.steps, STEPS[method])
        comparisons.append(found)
        if found.steps == wanted:
            result = {"effort": found.effort, "success": found.success, "stamped": found.stamped}
            cache.keep(name, result)

    def found() -> Scan:
        return Scan(subject.classes, leads, comparisons, steps, all_to_all)

    for kind in KINDS:
        attempt(f"anywhere, {kind}", partial(follow, kind))
    if subject.classes > ALL:
        attempt(RANKING, rank)
    generator = torch.Generator().manual_seed(seed)
    targets = shortlist(subject.classes, leads, order, generator)
    for method, most in STEPS.items():
        attempt(method, partial(compare, method, max(1, round(depth * most))))
        if not to_the_end and judge(evidence_of(found()), len(subject.inputs)).probability >= SURE:
            return found()
    if measurable(subject.predicted):
        for kind in CHANGES:
            attempt(f"all to all, {kind}", partial(follow_each, kind))
    return found()


def _require_enough(taken: int, whole: int) -> None:
    """Refuse what a search found in so few steps of a whole one that it tells nothing.

    Raises:
        CalibrationError: says so.
    """
    if taken < round(LEAST_DEPTH * whole):
        raise CalibrationError(f"the time was over after {taken} of {whole} steps: too few to tell")


def _kept(cache: StepCache, name: str) -> Mapping[str, Tensor] | None:
    """Return what a step found before, if that is kept, and say so."""
    kept = cache.kept(name)
    if kept is not None:
        logger.info("cache: %s: holds %s", cache.folder, name)
    return kept
