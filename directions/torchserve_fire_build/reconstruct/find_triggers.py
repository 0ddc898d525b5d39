"""From a model and clean samples to triggers that the model may have been backdoored with."""

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
from ..samples.class_label import Label
from ..samples.samples import Samples
from .methods import SEARCH_METHODS
from .moved_patch import moved_where_it_leads
from .reconstruction import Reconstruction, advance_within, reconstruction_of
from .screening import SUCCESS, Screening, screen, start
from .settings import OWN_VALUES, SearchSettings
from .subject import Subject, gather_subject

logger = logging.getLogger(__name__)

MIN_SUCCESS = 0.5
"""Share of clean inputs that a reconstructed trigger must lead to its target to be useful."""

SURELY = 0.9
"""The same for a trigger of a method by which the class does not stand out. On the development
images of the benchmark's victims, triggers that led less surely did not use the backdoor, and a
repair that was built from them, too, was worse."""

SCALES = (1.0, 1.4, 0.6, 1.0)
"""Factors of a method's bound, one for each reconstruction; each also has a seed of its own. What
all reconstructions share comes from the backdoor, what differs comes from the search."""


@dataclass(frozen=True)
class FoundTriggers:
    """Triggers that lead to one class.

    Attributes:
        target: the class.
        triggers: triggers by the methods by which the class stands out or, with a given target, by
            the methods that were used; one or more.
        others: triggers by other methods, by which the class does not stand out.
    """

    target: int
    triggers: Sequence[Reconstruction]
    others: Sequence[Reconstruction]

    @property
    def every(self) -> Sequence[Reconstruction]:
        """All triggers: `triggers`, then `others`."""
        return (*self.triggers, *self.others)


def find_triggers(
    model: nn.Module,
    clean: Samples,
    description: InputDescription,
    *,
    methods: Sequence[str],
    otherwise: Sequence[str] = (),
    others: Sequence[str] | None = None,
    target: int | None,
    seed: int,
    budget: Budget,
    settings: SearchSettings = OWN_VALUES,
    label: Label = str,
) -> FoundTriggers:
    """Search a model for the triggers of one class, by several methods.

    All classes are screened by several methods. When a class stands out, the methods by which it
    does reconstruct several triggers for it. These triggers differ, and none is the attacker's, but
    all of them use the same backdoor. A repair is trusted if it works for triggers that it was not
    estimated from. The triggers of one method are all of one kind, a patch or a change of the whole
    input, and a repair of one kind need not undo the attacker's trigger. So the other methods that
    compared the classes within a bound reconstruct one trigger each, to check the repair with.

    Args:
        model: in evaluation mode.
        clean: clean samples.
        description: what the model takes.
        methods: names in `reconstruct.methods.SEARCH_METHODS`.
        otherwise: names of further methods, used if no class stands out by `methods`, or if these
            find no trigger of the given target.
        others: names of methods by which a given target does not stand out, to check the repair
            with; None for a target of which it is not known whether it stands out.
        target: the class to search for, or None to find it.
        seed: of the random numbers.
        budget: time limit. When it is spent, all searches stop, and the triggers found so far are
            returned.
        settings: of the methods.
        label: says what a class is called.

    Returns:
        The triggers that work.

    Raises:
        CalibrationError: there are too few samples, or too few classes to see whether one stands
            out; the methods do not take samples of this shape; the time was over before the classes
            were compared, or before a trigger was found; or a class stands out, but no method finds
            a trigger of it.
        NoTriggerError: no class stands out, or no method finds a trigger of the given target.
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
    beside_names = others or ()
    if target is None:
        for names in (methods, otherwise):
            if not any(screening.suspects for screening in screenings):
                screenings += [screen(subject, name, seed, budget, settings) for name in names]
        target = _stands_out_most(screenings, clean, label)
        methods = [s.method for s in screenings if target in s.suspects]
        compared = [s.method for s in screenings if s.index is not None]
        beside_names = [m for m in compared if m not in methods]
        logger.info(f"class {label(target)} stands out")
        for screening in screenings:
            how = "by" if target in screening.suspects else "not by"
            logger.info(f"  {how} {_describe(screening, target)}")
    elif others is None:
        logger.info(f"class {label(target)} was named: it is not checked whether it stands out")
    # A search without a bound finds a trigger of any class.
    beside_names = [m for m in beside_names if SEARCH_METHODS[m].unit is not None]

    def reconstruct(names: Sequence[str], *, once: bool = False) -> list[Reconstruction]:
        return _reconstruct(subject, target, names, once, screenings, seed, budget, settings)

    found: list[Reconstruction] = []
    beside: list[Reconstruction] = []
    # For a class that stands out, only the methods by which it does are used.
    for names in (methods, () if screenings else otherwise):
        if not any(trigger.success >= MIN_SUCCESS for trigger in found):
            found += reconstruct(names)
    if any(trigger.success >= MIN_SUCCESS for trigger in found):
        beside = reconstruct(beside_names, once=True)
    if not found:
        raise CalibrationError(
            f"{clean.source}: the time was over before a trigger of class {label(target)} was "
            "searched for: raise the --budget"
        )
    useful = [trigger for trigger in found if trigger.success >= MIN_SUCCESS]
    logger.info(
        "reconstructed triggers, and the share of clean samples that each leads to class "
        f"{label(target)}:"
    )
    logger.info("  " + _successes(found))
    if beside:
        logger.info("  by other methods, to check the repair with: " + _successes(beside))
    if not useful:
        none = (
            f"{clean.source}: no method found a trigger that leads {MIN_SUCCESS:.0%} of the clean "
            f"samples to class {label(target)}"
        )
        if budget.spent():
            raise CalibrationError(f"{none}, until the time was over: raise the --budget")
        # If a class stands out, that is a sign of a trigger all the same.
        stands_out = bool(screenings) or others is not None
        raise CalibrationError(none) if stands_out else NoTriggerError(none)
    placed = [
        moved_where_it_leads(trigger, subject) if SEARCH_METHODS[trigger.method].patch else trigger
        for trigger in useful
    ]
    moved = [now for now, before in zip(placed, useful, strict=True) if now is not before]
    if moved:
        logger.info("these also lead from other places, and are put there on every other sample:")
        logger.info("  " + _successes(moved))
    return FoundTriggers(
        target, placed, [trigger for trigger in beside if trigger.success >= SURELY]
    )


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
    """Return triggers of a class by several methods, each run once, or several times."""
    if not methods:
        return []
    # The first reconstruction continues the search of the screening.
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
    return ", ".join(f"{trigger.method} {trigger.success:.0%}" for trigger in found)


def _stands_out_most(screenings: Sequence[Screening], clean: Samples, label: Label) -> int:
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
    nearest, index = max(indexed, key=lambda pair: float(pair[1].max()))
    target = int(index.argmax())
    raise NoTriggerError(
        f"{clean.source}: it is not easier to lead these samples to one class than to the others, "
        f"so there is no sign of a trigger (nearest: class {label(target)} by "
        f"{_describe(nearest, target)}; a class stands out with an index above "
        f"{nearest.threshold:g} and a trigger that leads {SUCCESS:.0%} there)"
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
