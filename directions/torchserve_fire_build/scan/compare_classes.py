"""Short searches for triggers of a few classes, compared after the same number of steps."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..common.progress import Progress
from ..reconstruct.methods import SEARCH_METHODS
from ..reconstruct.subject import Subject, loss_towards
from ..samples.predict import logits_of

INPUTS = 128
"""The most inputs on which a class's trigger is measured."""


@dataclass(frozen=True)
class Comparison:
    """Classes, and how hard it is to lead inputs to each.

    Attributes:
        method: name of the search.
        targets: the classes that were searched.
        steps: that each search took.
        effort: of each class, (targets,) float64; lower is more suspicious.
        success: share of the inputs of other classes that each trigger leads there, (targets,)
            float64.
        stamped: for each class, the first input of another class with the trigger, as a request
            carries it, (targets, *S), on the CPU.
    """

    method: str
    targets: Sequence[int]
    steps: int
    effort: Tensor
    success: Tensor
    stamped: Tensor


def compare_classes(
    subject: Subject,
    method: str,
    targets: Sequence[int],
    steps: int,
    seed: int,
    budget: Budget,
) -> Comparison:
    """Search for a trigger of each class, a step in turn, and measure how far each search came.

    All searches draw the same random numbers, so that only the classes make a difference.

    Args:
        subject: the model, and clean inputs.
        method: a name in `SEARCH_METHODS`.
        targets: the classes.
        steps: that each search is to take.
        seed: of the random numbers.
        budget: all searches stop after the same number of steps, so that it suffices for the
            measurement.

    Raises:
        CalibrationError: the model does not allow the search, or has no logits for its triggers;
            or the time was over before the first step.
    """
    entry = SEARCH_METHODS[method]
    searches = [
        entry.start(subject, target, torch.Generator().manual_seed(seed), entry.bound)
        for target in targets
    ]
    measuring = 0.0 if math.isinf(budget.left()) else _measuring(subject, len(targets))
    taken, round_took = 0, 0.0
    with Progress(f"searching for triggers, {method}", steps * len(targets)) as progress:
        while taken < steps and not budget.spent(measuring + round_took):
            started = time.monotonic()
            for search in searches:
                search.advance(1)
                progress.advance()
            taken += 1
            round_took = time.monotonic() - started
    if not taken:
        raise CalibrationError("the time was over before its first step")
    effort, success = (torch.zeros(len(targets), dtype=torch.float64) for _ in range(2))
    shown = []
    for i, (target, search) in enumerate(zip(targets, searches, strict=True)):
        with torch.no_grad():
            stamped = subject.box.legal(search.stamp(subject.others(target)[:INPUTS]))
            logits = subject.logits(stamped)
        if bool(logits.isnan().any()):
            # The largest of NaN would be class 0, and all inputs led there.
            raise CalibrationError(
                f"{type(subject.model).__name__}: its logits are NaN for inputs with a trigger of "
                f"class {target}, expected numbers for all inputs within the range of the clean "
                "ones"
            )
        effort[i] = search.effort(float(loss_towards(target, logits)))
        success[i] = (logits.argmax(1) == target).double().mean()
        shown.append(stamped[0].cpu())
    return Comparison(method, targets, taken, effort, success, torch.stack(shown))


def _measuring(subject: Subject, classes: int) -> float:
    """Return the seconds that it takes to measure the triggers of some classes."""
    started = time.monotonic()
    logits_of(subject.model, subject.inputs[:INPUTS])
    return classes * (time.monotonic() - started)
