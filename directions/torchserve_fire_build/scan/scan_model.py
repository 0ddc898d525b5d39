"""From a model and clean samples to the evidence for a backdoor towards each class."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from torchserve_fire.errors import first_line

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..common.progress import Progress
from ..common.step_cache import NO_CACHE, StepCache
from ..reconstruct.subject import Subject
from . import place_search
from .all_to_all import CHANGES, AllToAll, measurable, search_all_to_all
from .compare_classes import Comparison, compare_classes
from .evidence import evidence_of
from .findings import (
    ALL_TO_ALL_RESTARTS,
    FREELY,
    LEAST_DEPTH,
    PLACES,
    RESTARTS,
    STEPS,
    TURNS,
    Scan,
    Step,
)
from .free_search import KINDS, Lead, search_freely
from .kept_steps import KeptSteps
from .place_search import Placed, search_places
from .shortlist import shortlist
from .turned_images import Turned, turn_images
from .verdict import judge

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

    A step that fails is recorded, and no more. Once a class is surely found, one search of its
    trigger, to show it, is the last one.

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
    kept = KeptSteps(cache)
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

    places: list[Placed] = []
    leads: list[Lead] = []
    comparisons: list[Comparison] = []
    all_to_all: list[AllToAll] = []
    turned: list[Turned] = []

    def follow_at_each_place() -> None:
        wanted = max(1, round(depth * place_search.STEPS))
        generator = torch.Generator().manual_seed(seed)
        search = partial(search_places, subject, generator, wanted, budget)
        places.extend(kept.places(wanted, search))

    def follow(kind: str) -> None:
        wanted = max(1, round(depth * KINDS[kind].steps))
        search = partial(_search_from_several_places, subject, kind, wanted, seed, budget)
        leads.extend(kept.leads(kind, wanted, search))

    def turn() -> None:
        turned.extend(kept.turned(lambda: turn_images(subject)))

    def compare(method: str) -> None:
        wanted = max(1, round(depth * STEPS[method]))
        search = partial(compare_classes, subject, method, targets, wanted, seed, budget)
        found = kept.comparison(method, targets, wanted, search)
        _require_enough(found.steps, STEPS[method])
        comparisons.append(found)

    def follow_each(kind: str) -> None:
        wanted = max(1, round(depth * KINDS[kind].steps))
        for restart in range(ALL_TO_ALL_RESTARTS):
            if restart and budget.spent():
                raise CalibrationError("the time was over before all of its searches began")
            generator = torch.Generator().manual_seed(seed + restart)
            search = partial(search_all_to_all, subject, kind, generator, wanted)
            all_to_all.append(kept.all_to_all(kind, wanted, restart, search))

    def found() -> Scan:
        return Scan(subject.classes, leads, comparisons, steps, all_to_all, places, turned)

    def surely_found() -> list[int]:
        if to_the_end:
            return []
        verdict = judge(evidence_of(found()), len(subject.inputs))
        return verdict.targets if verdict.probability >= SURE else []

    attempt(PLACES, follow_at_each_place)
    attempt(TURNS, turn)
    for kind in FREELY:
        attempt(f"anywhere, {kind}", partial(follow, kind))
    # Where a class is surely found, only its trigger is searched, to be shown.
    targets = surely_found()
    if not targets:
        generator = torch.Generator().manual_seed(seed)
        targets = shortlist(subject.classes, [*places, *turned, *leads], generator)
    for method in STEPS:
        attempt(method, partial(compare, method))
        if surely_found():
            return found()
    if measurable(subject.predicted):
        for kind in CHANGES:
            attempt(f"all to all, {kind}", partial(follow_each, kind))
    return found()


def _search_from_several_places(
    subject: Subject, kind: str, steps: int, seed: int, budget: Budget
) -> list[Lead]:
    """Follow the cheapest change of a kind from several places, as far as the time allows.

    Raises:
        CalibrationError: the time was over after too few steps, or the search is not possible.
    """
    found: list[Lead] = []
    with Progress(f"searching where changes lead, {kind}", RESTARTS * steps) as progress:
        for restart in range(RESTARTS):
            if not found or not budget.spent():
                generator = torch.Generator().manual_seed(seed + restart)
                found.append(search_freely(subject, kind, generator, steps, budget))
                progress.advance(found[-1].steps)
    _require_enough(sum(lead.steps for lead in found), RESTARTS * KINDS[kind].steps)
    return found


def _require_enough(taken: int, whole: int) -> None:
    """Refuse what a search found in so few steps of a whole one that it tells nothing.

    Raises:
        CalibrationError: says so.
    """
    if taken < round(LEAST_DEPTH * whole):
        raise CalibrationError(f"the time was over after {taken} of {whole} steps: too few to tell")
