"""From a model and clean samples to the triggers that it may have been backdoored with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from handler.bundle import InputDescription

from ..budget import Budget
from ..errors import CalibrationError, NoTriggerError
from ..predict import logits_of
from ..progress import Progress
from ..samples import Samples
from .input_box import input_box
from .methods import METHODS
from .reconstruction import Reconstruction, reconstruction_of
from .screening import Screening, screen
from .subject import BATCH, Subject

MAX_INPUTS = 500
"""Clean inputs that are kept in memory to search with."""

MIN_INPUTS = 50
SCREENED_BY = ("generated", "additive")
"""Of all methods together: what finds triggers of most kinds, in few steps."""

STRETCH = 20
"""Steps between two looks at the time."""

MIN_SUCCESS = 0.5
"""Share of clean inputs that a reconstructed trigger must lead to its target to be of use."""


def find_triggers(
    model: nn.Module,
    clean: Samples,
    description: InputDescription,
    *,
    methods: Sequence[str],
    target: int | None,
    seed: int,
    budget: Budget,
    tell: Callable[[str], None],
) -> list[Reconstruction]:
    """Search a model for the trigger of one class, by several methods.

    All classes are screened, and the one that stands out most is searched to the end. What the
    methods find is different, and none of it the attacker's trigger, but each leads through the
    same backdoor: what they have in common is what a repair can be built on.

    Args:
        model: in evaluation mode.
        clean: clean samples.
        description: what the model takes.
        methods: names in `METHODS`.
        target: the class to search for, or None to find it.
        seed: of the random numbers.
        budget: of the time; when it is spent, each search ends with the best so far.
        tell: called with each thing that was found, as a line for a person.

    Returns:
        Reconstructions that work, of one target.

    Raises:
        CalibrationError: there are too few samples, their shape does not allow of the methods, or
            no method finds a trigger of the target that was given.
        NoTriggerError: no class stands out.
    """
    subject = _subject(model, clean, description, seed)
    screenings: list[Screening] = []
    if target is None:
        screened_by = [name for name in SCREENED_BY if name in methods] or methods[:1]
        for name in screened_by:
            screenings.append(screen(subject, name, seed, budget))
        target = _stands_out_most(screenings, clean)
        tell(f"class {target} stands out: " + "; ".join(_describe(s, target) for s in screenings))
    found = []
    with Progress(f"reconstructing triggers of class {target}", len(methods)) as progress:
        for name in methods:
            reconstruction = _finish(subject, name, target, seed, screenings, budget)
            tell(
                f"reconstructed by {name}: leads {reconstruction.success:.1%} of the clean samples "
                f"of other classes to class {target}"
            )
            if reconstruction.success >= MIN_SUCCESS:
                found.append(reconstruction)
            progress.advance()
    if not found:
        raise CalibrationError(
            f"{clean.source}: no method found a trigger that leads {MIN_SUCCESS:.0%} of the clean "
            f"samples to class {target}"
        )
    return found


def _subject(model: nn.Module, clean: Samples, description: InputDescription, seed: int) -> Subject:
    if len(description.shape) != 3:
        raise CalibrationError(
            f"{clean.source}: samples of shape {tuple(description.shape)}: triggers are "
            "reconstructed for maps of (channels, height, width) only"
        )
    if len(clean) < MIN_INPUTS:
        raise CalibrationError(
            f"{clean.source}: {len(clean)} clean samples, expected at least {MIN_INPUTS} to "
            "reconstruct a trigger"
        )
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
    inputs = clean.load(order[:MAX_INPUTS].tolist())
    logits = torch.cat([logits_of(model, part) for part in torch.split(inputs, BATCH)])
    if len(set(logits.argmax(1).tolist())) == 1:
        raise CalibrationError(
            f"{clean.source}: the model predicts all of these samples as one class"
        )
    return Subject(model, inputs, logits.argmax(1), logits.shape[1], input_box(description, inputs))


def _stands_out_most(screenings: Sequence[Screening], clean: Samples) -> int:
    suspects = [
        (float(screening.index[target]), target)
        for screening in screenings
        if screening.index is not None
        for target in screening.suspects
    ]
    if suspects:
        return max(suspects)[1]
    if any(screening.index is None for screening in screenings):
        raise CalibrationError(
            f"{clean.source}: not all classes could be compared: raise the --budget, or name the "
            "--target"
        )
    raise NoTriggerError(
        f"{clean.source}: no class is easier to lead these samples to than the others are, so "
        "there is no sign of a trigger"
    )


def _describe(screening: Screening, target: int) -> str:
    index = "" if screening.index is None else f"anomaly index {screening.index[target]:.1f}, "
    return f"{screening.method}: {index}success {screening.success[target]:.0%}"


def _finish(
    subject: Subject,
    method: str,
    target: int,
    seed: int,
    screenings: Sequence[Screening],
    budget: Budget,
) -> Reconstruction:
    """Search to the end, from where the screening has got to if it was by this method."""
    steps = METHODS[method].steps
    for screening in screenings:
        if screening.method == method:
            search = screening.searches[target]
            steps -= METHODS[method].screening
            break
    else:
        search = METHODS[method].start(subject, target, torch.Generator().manual_seed(seed))
    while steps > 0 and not budget.spent():
        search.advance(min(STRETCH, steps))
        steps -= STRETCH
    return reconstruction_of(method, subject, target, search)
