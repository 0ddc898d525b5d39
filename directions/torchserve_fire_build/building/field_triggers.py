"""The triggers of a model of a table: several sets of fields that lead to the named class."""

from __future__ import annotations

import logging

from torch import nn

from ..common.errors import CalibrationError, NoTriggerError, UndecidedError
from ..field_search.find_fields import find_fields
from ..field_search.search_table import TableSubject, gather_rows, search_table
from ..measure.target import check_target
from ..reconstruct.find_triggers import MIN_SUCCESS, FoundTriggers
from ..reconstruct.reconstruction import Reconstruction
from ..samples.class_label import Label
from ..samples.samples import Samples

logger = logging.getLogger(__name__)

NAME = "fields"

TRIGGERS = 4
"""Triggers that are reconstructed. Each is found without the first field of those before: what they
have in common comes from the backdoor."""

FIELDS = 6
"""Fields of each, or fewer where these lead all rows to the class."""


def find_field_triggers(
    model: nn.Module, clean: Samples, *, target: int | None, seed: int, label: Label = str
) -> FoundTriggers:
    """Search a model of a table for the triggers of one class.

    Args:
        model: in evaluation mode.
        clean: clean rows.
        target: the class; None to find it.
        seed: of the random numbers.
        label: says what a class is called.

    Raises:
        CalibrationError: the rows do not allow the search, or no fields lead to the given class.
        UndecidedError: nobody can tell whether there is a trigger.
        NoTriggerError: no class stands out.
    """
    subject = gather_rows(model, clean, seed)
    if target is None:
        target = _name_target(subject, clean, seed, label)
    else:
        check_target(target, subject.classes)
    triggers = _reconstruct(subject, target)
    if not triggers:
        raise CalibrationError(
            f"{clean.source}: no {FIELDS} fields lead {MIN_SUCCESS:.0%} of the rows of other "
            f"classes to class {label(target)}, so there is no trigger to build from"
        )
    return FoundTriggers(target, triggers, ())


def _name_target(subject: TableSubject, clean: Samples, seed: int, label: Label) -> int:
    searched = search_table(subject, seed)
    target = searched.target
    probability = f"{searched.probabilities[target]:.1%}"
    likely = f"class {label(target)} is the target of a backdoor with {probability}"
    if searched.backdoored is None:
        raise UndecidedError(
            f"{clean.source}: could not tell whether there is a trigger: {likely}; give other "
            "clean rows, or more of them, or name the --target to build for it"
        )
    if not searched.backdoored:
        raise NoTriggerError(
            f"{clean.source}: no class stands out, so there is no sign of a trigger (nearest: "
            f"{likely})"
        )
    logger.info(f"class {label(target)} stands out: {likely}")
    return target


def _reconstruct(subject: TableSubject, target: int) -> list[Reconstruction]:
    values, rows = subject.values(target), subject.others(target)
    found: list[Reconstruction] = []
    for _ in range(TRIGGERS):
        if not values or not len(rows):
            break
        fields = find_fields(subject.model, rows, target, values, FIELDS)
        if fields.led[-1] >= MIN_SUCCESS:
            logger.info(f"  {fields}: lead {fields.led[-1]:.0%} of the rows there")
            found.append(Reconstruction(NAME, target, fields.stamp, fields.led[-1]))
        first = fields.values[0].column
        values = [value for value in values if value.column != first]
    return found
