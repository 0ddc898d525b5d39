"""Short searches for triggers of a few classes, compared after the same number of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..common.progress import Progress
from ..reconstruct.methods import SEARCH_METHODS
from ..reconstruct.subject import Subject, loss_towards

ROUND = 5
"""Steps that a class's search takes before the next class's turn."""

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
    """Search for a trigger of each class, in turns, and measure how far each search came.

    All searches draw the same random numbers, so that only the classes make a difference.

    Args:
        subject: the model, and clean inputs.
        method: a name in `SEARCH_METHODS`.
        targets: the classes.
        steps: that each search is to take.
        seed: of the random numbers.
        budget: when it is spent, all searches stop after the same number of steps.

    Raises:
        CalibrationError: the model does not allow the search, or has no logits for its triggers.
    """
    entry = SEARCH_METHODS[method]
    if entry.start_all is not None:
        every = entry.start_all(subject, torch.Generator().manual_seed(seed), entry.bound)
        searches = [every[target] for target in targets]
    else:
        searches = [
            entry.start(subject, target, torch.Generator().manual_seed(seed), entry.bound)
            for target in targets
        ]
    taken = 0
    with Progress(f"searching for triggers, {method}", steps * len(targets)) as progress:
        while taken < steps and not budget.spent():
            stride = min(ROUND, steps - taken)
            for search in searches:
                search.advance(stride)
                progress.advance(stride)
            taken += stride
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
