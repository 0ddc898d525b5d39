"""From a model and clean samples to the triggers that it may have been backdoored with."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from torchserve_fire.format.bundle import InputDescription

from ..common.budget import Budget
from ..common.errors import CalibrationError, NoTriggerError
from ..common.progress import Progress
from ..measure.anomaly_index import MIN_CLASSES, by_chance
from ..measure.target import check_target
from ..samples.samples import Samples
from .methods import SEARCH_METHODS
from .moved_patch import moved_where_it_leads
from .reconstruction import Reconstruction, advance_within, reconstruction_of
from .screening import SUCCESS, Screening, screen, start
from .settings import OWN_VALUES, SearchSettings
from .subject import Subject, gather_subject

logger = logging.getLogger(__name__)

MIN_SUCCESS = 0.5
"""Share of clean inputs that a reconstructed trigger must lead to its target to be of use."""

SURELY = 0.9
"""The same of one by a method by which the class does not stand out. On the development images of
the benchmark's victims, those that led less surely went past the backdoor, and a repair from them,
too, was worse."""

SCALES = (1.0, 1.4, 0.6, 1.0)
"""Of a method's bound, in reconstruction after reconstruction, each with a seed of its own: what
they share is the backdoor's, what they do not share is their own."""


@dataclass(frozen=True)
class FoundTriggers:
    """Triggers of one class, each of which leads there.

    Attributes:
        target: the class.
        triggers: by the methods by which the class stands out, or by which it was searched; one at
            least.
        others: by methods by which it does not stand out.
    """

    target: int
    triggers: Sequence[Reconstruction]
    others: Sequence[Reconstruction]

    @property
    def every(self) -> Sequence[Reconstruction]:
        """These and those."""
        return (*self.triggers, *self.others)


def find_triggers(
    model: nn.Module,
    clean: Samples,
    description: InputDescription,
    *,
    methods: Sequence[str],
    otherwise: Sequence[str] = (),
    target: int | None,
    seed: int,
    budget: Budget,
    settings: SearchSettings = OWN_VALUES,
) -> FoundTriggers:
    """Search a model for the trigger of one class, by several methods.

    All classes are screened by several methods. Of the class that stands out most, triggers are
    reconstructed by the methods by which it does, each several times. They differ, and none is the
    attacker's trigger, but each leads through the same backdoor: what serves for those that it was
    not estimated from is what a repair can be built on. Those of one method are all of one kind, a
    patch or a change of the whole input, and what undoes one kind need not undo the attacker's. So
    one is reconstructed by each of the others, too, that compared the classes within a bound, to
    see whether a repair undoes it.

    Args:
        model: in evaluation mode.
        clean: clean samples.
        description: what the model takes.
        methods: names in `reconstruct.methods.SEARCH_METHODS`.
        otherwise: those that are used, too, where by `methods` no class stands out, or no trigger
            of the target that was given is found.
        target: the class to search for, or None to find it.
        seed: of the random numbers.
        budget: of the time; when it is spent, no search goes on or is started, and what was found
            so far is returned.
        settings: of the methods.

    Returns:
        What works.

    Raises:
        CalibrationError: there are too few samples, or too few classes to see whether one stands
            out; the shape of the samples does not allow of the methods; the time was over before
            the classes were compared, or a trigger was found; no method finds one of the class that
            stands out.
        NoTriggerError: no class stands out, or no method finds a trigger of the target that was
            given.
    """
    subject = gather_subject(model, clean, description, seed)
    if target is not None:
        check_target(target, subject.classes)
    if target is None and subject.classes < MIN_CLASSES:
        raise CalibrationError(
            f"{type(model).__name__}: {subject.classes} classes, expected at least {MIN_CLASSES} "
            "to see whether one stands out: name the --target"
        )
    screenings: list[Screening] = []
    others: list[str] = []
    if target is None:
        for some in (methods, otherwise):
            if not any(screening.suspects for screening in screenings):
                screenings += [screen(subject, name, seed, budget, settings) for name in some]
        target = _stands_out_most(screenings, clean)
        methods = [s.method for s in screenings if target in s.suspects]
        compared = [s.method for s in screenings if s.index is not None]
        # Without a bound, a search leads wherever it is to.
        others = [m for m in compared if m not in methods and SEARCH_METHODS[m].unit is not None]
        logger.info(f"class {target} stands out")
        for screening in screenings:
            how = "by" if target in screening.suspects else "not by"
            logger.info(f"  {how} {_describe(screening, target)}")
    else:
        logger.info(f"class {target} was named: whether it stands out is not looked at")

    def reconstruct(some: Sequence[str], *, once: bool = False) -> list[Reconstruction]:
        return _reconstruct(subject, target, some, once, screenings, seed, budget, settings)

    found: list[Reconstruction] = []
    beside: list[Reconstruction] = []
    # Of a class that stands out, all that there is to use are the methods by which it does.
    for some in (methods, () if screenings else otherwise):
        if not any(one.success >= MIN_SUCCESS for one in found):
            found += reconstruct(some)
    if any(one.success >= MIN_SUCCESS for one in found):
        beside = reconstruct(others, once=True)
    if not found:
        raise CalibrationError(
            f"{clean.source}: the time was over before a trigger of class {target} was searched "
            "for: raise the --budget"
        )
    useful = [one for one in found if one.success >= MIN_SUCCESS]
    logger.info(
        f"reconstructed, each leading so many clean samples of other classes to class {target}:"
    )
    logger.info("  " + _successes(found))
    if beside:
        logger.info("  and by others, to see whether it is undone: " + _successes(beside))
    if not useful:
        none = (
            f"{clean.source}: no method found a trigger that leads {MIN_SUCCESS:.0%} of the clean "
            f"samples to class {target}"
        )
        if budget.spent():
            raise CalibrationError(f"{none}, until the time was over: raise the --budget")
        # A class that stands out is a sign of one all the same.
        raise CalibrationError(none) if screenings else NoTriggerError(none)
    placed = [
        moved_where_it_leads(one, subject) if SEARCH_METHODS[one.method].patch else one
        for one in useful
    ]
    moved = [one for one, as_found in zip(placed, useful, strict=True) if one is not as_found]
    if moved:
        logger.info(
            "of these, leading from other places, too, and put there on every other sample:"
        )
        logger.info("  " + _successes(moved))
    return FoundTriggers(target, placed, [one for one in beside if one.success >= SURELY])


def _reconstruct(
    subject: Subject,
    target: int,
    methods: Sequence[str],
    once: bool,
    screenings: Sequence[Screening],
    seed: int,
    budget: Budget,
    settings: SearchSettings,
) -> list[Reconstruction]:
    """Return triggers of a class by some methods, each once, or several times in the time."""
    if not methods:
        return []
    # The first reconstruction goes on from where the screening has got to.
    screened = {s.method: s.searches[target] for s in screenings if s.method in methods}
    rounds = 1 if once else max(2, len(SCALES) // len(methods))
    found = []
    title = f"reconstructing triggers of class {target}"
    with Progress(title, rounds * len(methods)) as progress:
        for i, name in itertools.product(range(rounds), methods):
            method = settings.method(name)
            left = method.steps
            if i == 0 and name in screened:
                search, left = screened[name], left - method.screening
            elif budget.spent():
                break
            else:
                search = start(name, subject, target, seed + i, SCALES[i], settings)
            advance_within(search, left, budget)
            found.append(reconstruction_of(name, subject, target, search))
            progress.advance()
    return found


def _successes(found: Sequence[Reconstruction]) -> str:
    return ", ".join(f"{one.method} {one.success:.0%}" for one in found)


def _stands_out_most(screenings: Sequence[Screening], clean: Samples) -> int:
    indexed = [(s, s.index) for s in screenings if s.index is not None]
    suspects = [(float(index[target]), target) for s, index in indexed for target in s.suspects]
    if suspects:
        return max(suspects)[1]
    silent = [s for s in screenings if s.index is None]
    if silent:
        raise CalibrationError(
            f"{clean.source}: the classes could not be compared by "
            f"{silent[0].method}: {silent[0].why_no_index}{_nor(silent[1:])}"
        )
    nearest, index = max(indexed, key=lambda each: float(each[1].max()))
    target = int(index.argmax())
    raise NoTriggerError(
        f"{clean.source}: no class is easier to lead these samples to than the others are, so "
        f"there is no sign of a trigger (nearest: class {target} by {_describe(nearest, target)}; "
        f"above {nearest.threshold:g} it stands out, where it leads {SUCCESS:.0%} there)"
    )


def _nor(others: Sequence[Screening]) -> str:
    return f"; nor by {', '.join(s.method for s in others)}" if others else ""


def _describe(screening: Screening, target: int) -> str:
    if screening.index is None:
        return f"{screening.method}: not compared"
    index = float(screening.index[target])
    return (
        f"{screening.method}: anomaly index {index:.2f} (by chance in "
        f"{by_chance(index, len(screening.index)):.0%} of models), leads "
        f"{screening.success[target]:.0%} of the clean samples there"
    )
