"""Inspection of a model of a table: how surely a few fields lead rows to each class."""

from __future__ import annotations

from itertools import starmap

import torch
from torch import nn

from ..common.budget import Budget
from ..common.names import SCAN
from ..field_search.find_fields import FoundFields
from ..field_search.search_table import SearchedTable, gather_rows, search_table
from ..samples.class_label import Label
from ..samples.samples import Samples
from ..scan.verdict import FOUND
from .inspection import Inspection

FEW = 200
"""Clean rows below which more would make the answer surer."""

SHOWN = 5
"""The most classes of which the fields are told, those first to which most rows are led."""


def scan_fields(
    model: nn.Module,
    clean: Samples,
    generator: torch.Generator,
    budget: Budget,
    label: Label = str,
) -> Inspection:
    """Search for fields that lead rows to each class; put what they reach into probabilities.

    It needs 50 clean rows, better 200. It takes seconds, so a budget is only looked at before.

    Args:
        model: in evaluation mode.
        clean: clean rows of a table.
        generator: source of the random numbers.
        budget: time limit.
        label: says what a class is called.

    Raises:
        CalibrationError: the model or the rows do not allow a search.
    """
    if budget.spent():
        return Inspection(SCAN, notes=("the time was over before it began: raise the --budget",))
    seed = generator.initial_seed()
    subject = gather_rows(model, clean, seed)
    searched = search_table(subject, seed)
    of_classes = zip(searched.found, searched.by_nature, strict=True)
    shown = sorted(of_classes, key=lambda found: found[1] - found[0].led[-1])[:SHOWN]
    notes = [f"{len(subject.rows)} clean rows", *(_in_words(*each, label) for each in shown)]
    if searched.skipped:
        skipped = ", ".join(map(label, searched.skipped))
        notes.append(f"not searched, for want of clean rows that are predicted so: class {skipped}")
    if searched.backdoored is None:
        notes.append(_what_would_tell(searched))
    return Inspection(
        SCAN,
        threshold=FOUND,
        probabilities=searched.probabilities,
        probability=float(searched.probabilities.max()),
        backdoored=searched.backdoored,
        triggers=tuple(starmap(_as_json, shown)),
        notes=tuple(notes),
    )


def _in_words(found: FoundFields, by_nature: float, label: Label) -> str:
    shares = ", ".join(f"{share:.0%}" for share in found.led)
    return (
        f"class {label(found.target)}: {found} lead {shares} of the rows of other classes "
        f"there, and {by_nature:.0%} in networks that know no trigger"
    )


def _as_json(found: FoundFields, by_nature: float) -> dict[str, object]:
    return {
        "class": found.target,
        "fields": {value.column: value.value for value in found.values},
        "led": list(found.led),
        "led_in_twins": by_nature,
    }


def _what_would_tell(searched: SearchedTable) -> str:
    rows = len(searched.subject.rows)
    if rows < FEW:
        return f"more clean rows could tell: {rows} were given, try {FEW}"
    return "a build from triggered rows needs no verdict"
