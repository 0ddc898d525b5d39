"""Inspecting a model: one method after another, within one budget."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from torchserve_fire.errors import FireError, first_line
from torchserve_fire.repair.attach_layers import check_model

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..samples.class_label import Label, label_of
from ..samples.labels import find_labels
from ..samples.predict import logits_of
from ..samples.samples import Samples
from ..samples.subset import Subset
from .findings import Findings, Run
from .inspection import Inspection
from .methods import DEFAULT, INSPECTION_METHODS, InspectionMethod, InspectionSettings

logger = logging.getLogger(__name__)

RunElsewhere = Callable[[Sequence[str], nn.Module, Samples, int, Label], Sequence[Run]]
"""Runs methods, by their names. It takes the names, the model, clean samples with labels, the
number of classes, and what says what a class is called."""


def inspect_model(
    model: nn.Module,
    clean: Samples,
    *,
    methods: Sequence[str] | None = None,
    settings: InspectionSettings | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    names_file: Path | None = None,
    elsewhere: RunElsewhere | None = None,
) -> Findings:
    """Find out whether a model looks backdoored, and with which target.

    Args:
        model: in evaluation mode.
        clean: some hundred clean samples; may be empty if no method needs samples.
        methods: names in `inspection.methods.INSPECTION_METHODS`; None for a scan.
        settings: settings of the methods; None for their own values.
        budget: time limit for all methods; each gets an equal share of the time that is left. None
            for no limit.
        seed: of the random numbers; each method draws the same numbers, whatever ran before.
        names_file: TorchServe's `index_to_name.json`, if the folders have its names.
        elsewhere: runs the methods, with settings, budget and seed of its own; None to do so here.

    Returns:
        The findings. A method that fails on this model could not tell.

    Raises:
        SamplesError: a sample cannot be read.
        CalibrationError: the model fails on inputs of this shape.
        UnknownNameError: there is no such method.
        AttachError: the model is in training mode.
    """
    budget = Budget() if budget is None else budget
    every = DEFAULT if methods is None else methods
    # A wrong name is refused before the work begins.
    entries = {name: INSPECTION_METHODS[name] for name in every}
    # A forward pass in training mode would change the weights.
    check_model(model)
    classes = logits_of(model, clean.description.example()).shape[1]
    samples = with_labels(model, clean, classes, names_file)
    label = label_of([clean], classes, names_file)
    if elsewhere is not None:
        return Findings(elsewhere(every, model, samples, classes, label), label)
    settings = replace(InspectionSettings() if settings is None else settings, label=label)
    runs: list[Run] = []
    for name in every:
        share, inspected = budget.share(len(every) - len(runs)), (model, samples, classes)
        runs.append(run_method(name, entries[name], settings, seed, inspected, share))
    return Findings(runs, label)


def run_method(
    name: str,
    entry: InspectionMethod,
    settings: InspectionSettings,
    seed: int,
    inspected: tuple[nn.Module, Samples, int],
    budget: Budget,
) -> Run:
    """Run a method; one that fails on this model could not tell.

    Args:
        name: of the method.
        entry: the method.
        settings: of the methods.
        seed: of the random numbers.
        inspected: the model, clean samples with labels, and the number of classes.
        budget: of this method.

    Raises:
        FireError: a sample cannot be read.
    """
    start = time.monotonic()
    generator = torch.Generator().manual_seed(seed)
    try:
        found = entry.make(settings)(*inspected, generator, budget)
    except Exception as error:
        # What one method cannot do says nothing of the others.
        found = Inspection(name, notes=(note_of(error),))
    return Run(found, time.monotonic() - start, entry.decides)


def note_of(error: Exception) -> str:
    """Return what is noted of a method that failed.

    Raises:
        FireError: the failure is that of the samples, so of all methods.
    """
    if isinstance(error, CalibrationError):
        return str(error)
    if isinstance(error, FireError):
        raise error
    return f"failed: {_in_short(error)}"


def _in_short(error: Exception) -> str:
    kind, message = type(error).__name__, first_line(error)
    # An exception without a message is named by its kind already.
    return kind if message == kind else f"{kind}: {message}"


def with_labels(model: nn.Module, clean: Samples, classes: int, names_file: Path | None) -> Samples:
    """Return the samples with labels from their folders."""
    (labels,), unknown = find_labels([clean], classes, names_file, model)
    if unknown:
        logger.info("%s: all of their samples are taken as clean", unknown)
    labelled = Subset(clean, range(len(clean)))
    labelled.labels = labels
    return labelled
