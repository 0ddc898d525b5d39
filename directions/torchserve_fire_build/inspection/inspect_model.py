"""Inspecting a model: each method in turn, within one budget."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import nn

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..samples.samples import Samples
from .inspection import Inspection
from .methods import INSPECTION_METHODS, InspectionSettings
from .verdict import Run, Verdict


def inspect_model(
    model: nn.Module,
    clean: Samples,
    classes: int,
    names: Sequence[str],
    *,
    otherwise: Sequence[str] = (),
    settings: InspectionSettings,
    seed: int,
    budget: Budget,
) -> Verdict:
    """Run methods on a model.

    Args:
        model: in evaluation mode.
        clean: clean samples; `empty_samples` only for methods that need none.
        classes: number of classes.
        names: of methods in `INSPECTION_METHODS`.
        otherwise: of those that are run, too, where these find nothing.
        settings: what they are made with.
        seed: of the random numbers; what one method draws does not depend on the others.
        budget: for all of them; each gets an equal share of what those before it have left.

    Returns:
        What they come to. A method that fails on this model could not tell.

    Raises:
        SamplesError: a sample cannot be read.
    """
    runs: list[Run] = []
    every = (*names, *otherwise)
    for done, name in enumerate(every):
        if name in otherwise and Verdict(runs).found:
            break
        start = time.monotonic()
        generator = torch.Generator().manual_seed(seed)
        method = INSPECTION_METHODS[name].make(settings)
        try:
            found = method(model, clean, classes, generator, budget.share(len(every) - done))
        except CalibrationError as error:
            found = Inspection(name, notes=(str(error),))
        runs.append(Run(found, time.monotonic() - start, INSPECTION_METHODS[name].decides))
    return Verdict(runs)
