"""Inspecting a model: each method in turn, within one budget."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..reconstruct.methods import OTHERWISE
from ..samples.labels import find_labels
from ..samples.predict import logits_of
from ..samples.samples import Samples
from ..samples.subset import Subset
from .findings import Findings, Run
from .inspection import Inspection
from .methods import DEFAULT, INSPECTION_METHODS, InspectionSettings

logger = logging.getLogger(__name__)


def inspect_model(
    model: nn.Module,
    clean: Samples,
    *,
    methods: Sequence[str] | None = None,
    settings: InspectionSettings | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    names_file: Path | None = None,
) -> Findings:
    """Say whether a model looks backdoored, and to which class.

    Args:
        model: in evaluation mode.
        clean: clean samples, some hundred; empty only for methods that need none.
        methods: names in `inspection.methods.INSPECTION_METHODS`; None for what is affordable,
            and one search more where that finds nothing.
        settings: of the methods; None for their own.
        budget: for all of them; each gets an equal share of what those before it have left. None:
            no limit.
        seed: of the random numbers; what one method draws does not depend on the others.
        names_file: TorchServe's `index_to_name.json`, where the folders are called by its names.

    Returns:
        What they come to. A method that fails on this model could not say.

    Raises:
        SamplesError: a sample cannot be read.
        CalibrationError: the model fails on inputs of this shape.
    """
    settings = InspectionSettings() if settings is None else settings
    budget = Budget() if budget is None else budget
    otherwise = OTHERWISE if methods is None else ()
    every = (*(DEFAULT if methods is None else methods), *otherwise)
    classes = logits_of(model, clean.description.example()).shape[1]
    samples = _labelled(clean, classes, names_file)
    runs: list[Run] = []
    for done, name in enumerate(every):
        if name in otherwise and Findings(runs).found:
            break
        start = time.monotonic()
        generator = torch.Generator().manual_seed(seed)
        entry = INSPECTION_METHODS[name]
        try:
            share = budget.share(len(every) - done)
            found = entry.make(settings)(model, samples, classes, generator, share)
        except CalibrationError as error:
            found = Inspection(name, notes=(str(error),))
        runs.append(Run(found, time.monotonic() - start, entry.decides))
    return Findings(runs)


def _labelled(clean: Samples, classes: int, names_file: Path | None) -> Samples:
    """Return the samples with the labels that their folders say."""
    (labels,), unknown = find_labels([clean], classes, names_file)
    if unknown:
        logger.info("%s: all of their images are taken for clean ones", unknown)
    labelled = Subset(clean, range(len(clean)))
    labelled.labels = labels
    return labelled
