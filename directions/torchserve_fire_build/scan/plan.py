"""What a scan will take here, measured before it starts."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch

from ..common.budget import Budget
from ..common.duration import about, shown_seconds
from ..common.errors import CalibrationError
from ..reconstruct.methods import SEARCH_METHODS
from ..reconstruct.reconstruction import TriggerSearch
from ..reconstruct.subject import Subject
from . import compare_classes, free_search, place_search, turned_images
from .all_to_all import CHANGES, LONGER, measurable
from .findings import ALL_TO_ALL_RESTARTS, FREELY, LEAST_DEPTH, RESTARTS, STEPS
from .free_search import KINDS
from .scan_model import BATCH
from .shortlist import ALL

LIKE: Mapping[str, str] = {
    "additive": "additive",
    "smooth": "additive",
    "warp": "additive",
    "patch": "neural-cleanse",
}
"""Whose steps take as long as those of each search that names no class."""

MOST_TIMES, ENOUGH = 5, 0.2
"""A step is measured so many times, or until it took so many seconds."""

RESERVE = 0.1
"""Share of the time that is kept back, since a measured step is only an estimate."""


@dataclass(frozen=True)
class Plan:
    """What a scan covers, and how long it takes.

    Attributes:
        classes: number of classes.
        compared: number of classes that are searched one by one.
        seconds: that the scan takes here.
        depth: share of the steps that each search takes, so that the scan fits into its time.
    """

    classes: int
    compared: int
    seconds: float
    depth: float

    def in_words(self) -> str:
        """Return a line that says so."""
        searched = (
            "searches all of them one by one"
            if self.compared == self.classes
            else f"searches {self.compared} of them one by one, the most suspicious first"
        )
        shortened = ""
        if self.depth < 1:
            shortened = (
                f", with {self.depth:.0%} of the steps to keep within the --budget: less sure than "
                "a whole scan"
            )
        return (
            f"scan: looks at all {self.classes} classes together, then {searched}; takes "
            f"{about(self.seconds)} here, by a measured step{shortened}"
        )


MARGIN = 1.1
"""Of the least time for a scan, what a budget should leave: a machine is not always as fast."""


def plan_scan(subject: Subject, budget: Budget) -> Plan:
    """Measure a step of each search, and plan a scan that fits into the time.

    Args:
        subject: the model, and clean inputs.
        budget: the time for the scan.

    Raises:
        CalibrationError: the time does not suffice for a scan that tells anything, or the model
            does not allow the searches.
    """

    def seconds(work: Callable[[], object]) -> float:
        if budget.spent():
            raise CalibrationError(
                "--budget: the time was over before a step of each search was measured, for a scan "
                f"of {subject.classes} classes: raise it, or use a machine that is faster"
            )
        return _seconds(work)

    compared = min(ALL, subject.classes)
    counts = Counter({method: compared * STEPS[method] for method in STEPS})
    each_class = measurable(subject.predicted)
    size = subject.inputs.shape[2:]
    places = place_search.places_in(*size)
    together = BATCH // place_search.PER_PLACE
    patches = place_search.Patches(subject, places[:together], torch.Generator().manual_seed(0))
    for kind in FREELY:
        counts[LIKE[kind]] += RESTARTS * KINDS[kind].steps
    for kind in CHANGES if each_class else ():
        counts[LIKE[kind]] += round(ALL_TO_ALL_RESTARTS * (1 + LONGER) * KINDS[kind].steps)
    of_place = seconds(lambda: _measure(subject, patches))
    # However few steps there are: what was found is measured, and images are turned.
    inputs = len(subject.inputs)
    measured = compared * len(STEPS) * min(compare_classes.INPUTS, inputs)
    measured += len(places) * place_search.MEASURED
    measured += len(turned_images.DEGREES) * min(turned_images.INPUTS, inputs)
    measured += RESTARTS * len(FREELY) * min(free_search.INPUTS, inputs)
    if each_class:
        measured += ALL_TO_ALL_RESTARTS * len(CHANGES) * inputs
    once = measured / place_search.MEASURED * of_place
    steps = sum(
        counts[method] * seconds(partial(_step, subject, _search(subject, method)))
        for method in counts
    )
    steps += (
        place_search.STEPS
        * math.ceil(len(places) / together)
        * seconds(lambda: _advance(subject, patches))
    )
    left = (1 - RESERVE) * budget.left()
    depth = min(1.0, (left - once) / steps)
    if depth < LEAST_DEPTH:
        least = (once + LEAST_DEPTH * steps) / (1 - RESERVE)
        # What was measured, and what other methods took, is spent.
        whole = math.ceil((budget.used() + MARGIN * least) / 60)
        raise CalibrationError(
            f"--budget: {shown_seconds(budget.left())} left for a scan of {subject.classes} "
            f"classes, which takes at least {shown_seconds(least)} here, and in full "
            f"{shown_seconds(once + steps)}: give --budget {whole}m or more, or use a machine that "
            "is faster"
        )
    return Plan(subject.classes, compared, once + depth * steps, depth)


def _seconds(work: Callable[[], object]) -> float:
    """Return the time that something takes; the first time, which is slower, does not count."""
    work()
    started, taken, times = time.perf_counter(), 0.0, 0
    # Other processes come in between: of what is short, a mean tells more.
    while times < MOST_TIMES and taken < ENOUGH:
        work()
        times += 1
        taken = time.perf_counter() - started
    return taken / times


def _search(subject: Subject, method: str) -> TriggerSearch:
    entry = SEARCH_METHODS[method]
    subject = replace(subject, batch_size=BATCH)
    # Of a class that not all inputs have.
    target = int(subject.predicted[0])
    return entry.start(subject, target, torch.Generator().manual_seed(0), entry.bound)


def _step(subject: Subject, search: TriggerSearch) -> None:
    search.advance(1)
    # A GPU works behind; a value on the CPU waits for it.
    search.stamp(subject.inputs[:1]).cpu()


def _advance(subject: Subject, patches: place_search.Patches) -> None:
    place_search.advance(subject, patches, torch.Generator().manual_seed(0))
    # As in `_step`.
    patches.logits[0, 0, 0, 0, 0].item()


def _measure(subject: Subject, patches: place_search.Patches) -> None:
    # Without logits for patches, that step fails, and says so; the others are planned all the same.
    with contextlib.suppress(CalibrationError):
        place_search.measure(subject, patches, 0, torch.Generator().manual_seed(0))
