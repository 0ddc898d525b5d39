"""From a model and clean samples to the evidence for a backdoor towards each class."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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

ANYWHERE, EACH = "anywhere, ", "all to all, "
"""What the names of steps begin with that search a kind of changes."""

Found = Placed | Turned | Lead | Comparison | AllToAll
"""What a step finds."""

SURE = 0.99
"""Once a class is this likely, no further search begins: it could only make the class likelier."""


@dataclass(frozen=True)
class Part:
    """One step of a scan, which any process that has the model can do.

    Attributes:
        name: of the step.
        targets: the classes that it compares; empty of a step that names none.
    """

    name: str
    targets: tuple[int, ...] = ()


@dataclass(frozen=True)
class Done:
    """A step that was done.

    Attributes:
        step: how it went.
        found: what it found; of a step that failed, what it had found before.
    """

    step: Step
    found: Sequence[Found]


DoParts = Callable[[Sequence[Part]], Iterator[Done]]
"""Does steps of a scan, all at once or one after the other, and yields them in their order."""


def scan_model(
    subject: Subject,
    seed: int,
    budget: Budget,
    *,
    depth: float = 1.0,
    to_the_end: bool = False,
    cache: StepCache = NO_CACHE,
    elsewhere: DoParts | None = None,
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
        elsewhere: does the steps, without a time limit; None to do them here.
    """
    kept, done = KeptSteps(cache), list[Done]()

    def do_here(parts: Sequence[Part]) -> Iterator[Done]:
        for part in parts:
            yield do_part(subject, part, seed, budget, depth, kept)

    do_parts = do_here if elsewhere is None else elsewhere

    def surely_found() -> list[int]:
        if to_the_end:
            return []
        verdict = judge(evidence_of(_scan(subject, done)), len(subject.inputs))
        return verdict.targets if verdict.probability >= SURE else []

    of_all = [PLACES, TURNS, *(f"{ANYWHERE}{kind}" for kind in FREELY)]
    done += do_parts([Part(name) for name in of_all])
    # Where a class is surely found, only its trigger is searched, to be shown.
    sure = surely_found()
    generator = torch.Generator().manual_seed(seed)
    looked = [
        each for part in done for each in part.found if isinstance(each, Placed | Turned | Lead)
    ]
    targets = tuple(sure or shortlist(subject.classes, looked, generator))
    parts = [Part(method, targets) for method in STEPS]
    if measurable(subject.predicted):
        parts += [Part(f"{EACH}{kind}") for kind in CHANGES]
    # The next one begins only if it is needed.
    for together in [[part] for part in parts] if sure else [parts]:
        for each in do_parts(together):
            done.append(each)
            if each.step.name in STEPS and surely_found():
                return _scan(subject, done)
    return _scan(subject, done)


def do_part(
    subject: Subject, part: Part, seed: int, budget: Budget, depth: float, kept: KeptSteps
) -> Done:
    """Do a step of a scan; whatever goes wrong is recorded.

    Args:
        subject: the model, and clean inputs.
        part: the step.
        seed: as `scan_model` takes it, like the next two.
        budget: time limit.
        depth: share of the steps that each search takes.
        kept: what finished steps found.
    """
    if budget.spent():
        return Done(Step(part.name, 0.0, "the time was over before it began"), ())
    started, failure = time.monotonic(), None
    found: list[Found] = []
    try:
        # What was found before a failure is kept.
        for each in _found(replace(subject, batch_size=BATCH), part, seed, budget, depth, kept):
            found.append(each)
    except MemoryError:
        failure = "out of memory"
    except Exception as error:
        # Whatever a model does to one search, the others go on.
        failure = first_line(error)
        if not isinstance(error, CalibrationError):
            failure = f"{type(error).__name__}: {failure}"
    return Done(Step(part.name, time.monotonic() - started, failure), found)


def _found(
    subject: Subject, part: Part, seed: int, budget: Budget, depth: float, kept: KeptSteps
) -> Iterator[Found]:
    """Yield what a step finds.

    Raises:
        CalibrationError: the model does not allow the search, or the time was over too soon.
    """

    def steps(whole: int) -> int:
        return max(1, round(depth * whole))

    name = part.name
    if name == PLACES:
        wanted = steps(place_search.STEPS)
        generator = torch.Generator().manual_seed(seed)
        yield from kept.places(wanted, partial(search_places, subject, generator, wanted, budget))
    elif name == TURNS:
        yield from kept.turned(lambda: turn_images(subject))
    elif name in STEPS:
        wanted, targets = steps(STEPS[name]), list(part.targets)
        search = partial(compare_classes, subject, name, targets, wanted, seed, budget)
        found = kept.comparison(name, targets, wanted, search)
        _require_enough(found.steps, STEPS[name])
        yield found
    elif name.startswith(ANYWHERE):
        kind = name.removeprefix(ANYWHERE)
        wanted = steps(KINDS[kind].steps)
        yield from kept.leads(
            kind,
            wanted,
            partial(_search_from_several_places, subject, kind, wanted, seed, budget),
        )
    else:
        kind = name.removeprefix(EACH)
        wanted = steps(KINDS[kind].steps)
        for restart in range(ALL_TO_ALL_RESTARTS):
            if restart and budget.spent():
                raise CalibrationError("the time was over before all of its searches began")
            generator = torch.Generator().manual_seed(seed + restart)
            yield kept.all_to_all(
                kind, wanted, restart, partial(search_all_to_all, subject, kind, generator, wanted)
            )


def _scan(subject: Subject, done: Sequence[Done]) -> Scan:
    """Return what steps found, by its kind."""
    found = [each for part in done for each in part.found]
    return Scan(
        subject.classes,
        [each for each in found if isinstance(each, Lead)],
        [each for each in found if isinstance(each, Comparison)],
        [part.step for part in done],
        [each for each in found if isinstance(each, AllToAll)],
        [each for each in found if isinstance(each, Placed)],
        [each for each in found if isinstance(each, Turned)],
    )


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
