"""What a scan will take here, measured before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..reconstruct.plane_wave import frequencies
from ..reconstruct.subject import Subject, loss_towards
from ..reconstruct.wave_scan import FEW, FINALISTS, MORE, PHASES
from .free_search import KINDS
from .scan_model import BATCH, RESTARTS, STEPS
from .shortlist import ALL

GENERATOR_COST = 2.0
"""A step of `generated` over another step: its own network runs, too."""

LEAST_DEPTH = 0.25
"""With a smaller share of their steps, the searches tell nothing."""

RESERVE = 0.1
"""Share of the time that is kept back, since a measured step is only an estimate."""


@dataclass(frozen=True)
class Plan:
    """What a scan covers, and how long it takes.

    Attributes:
        classes: number of classes.
        compared: number of classes that are searched one by one.
        seconds: that the whole scan takes here.
        depth: share of the steps that each search takes, so that the scan fits into its time.
    """

    classes: int
    compared: int
    seconds: float
    depth: float

    def in_words(self) -> str:
        """Return a line that says so."""
        searched = (
            "searches all of them one by one"
            if self.compared == self.classes
            else f"searches {self.compared} of them one by one, the most suspicious first"
        )
        shortened = ""
        if self.depth < 1:
            shortened = (
                f", with {self.depth:.0%} of the steps to keep within the --budget: less sure than "
                "a whole scan"
            )
        return (
            f"scan: looks at all {self.classes} classes together, then {searched}; about "
            f"{shown_seconds(self.depth * self.seconds)} here, by a measured step{shortened}"
        )


def plan_scan(subject: Subject, budget: Budget) -> Plan:
    """Measure a step and a pass of the model, and plan a scan that fits into the time.

    Args:
        subject: the model, and clean inputs.
        budget: the time for the scan.

    Raises:
        CalibrationError: the time does not suffice for a scan that tells anything.
    """
    compared = min(ALL, subject.classes)
    step, forward = _seconds(lambda: _step(subject)), _seconds(lambda: _pass(subject))
    free = RESTARTS * sum(kind.steps for kind in KINDS.values())
    of_class = STEPS["neural-cleanse"] + STEPS["additive"] + GENERATOR_COST * STEPS["generated"]
    waves = PHASES * len(frequencies(*subject.inputs.shape[2:]))
    of_waves = (waves * FEW + compared * FINALISTS * MORE) / BATCH
    seconds = step * (free + compared * of_class) + forward * of_waves
    left = (1 - RESERVE) * budget.left()
    depth = min(1.0, left / seconds)
    if depth < LEAST_DEPTH:
        least = LEAST_DEPTH * seconds / (1 - RESERVE)
        raise CalibrationError(
            f"--budget: {shown_seconds(budget.left())} left for a scan of {subject.classes} "
            f"classes, which takes at least {shown_seconds(least)} here, and in full "
            f"{shown_seconds(seconds)}: raise it, or use a machine that is faster"
        )
    return Plan(subject.classes, compared, seconds, depth)


def shown_seconds(seconds: float) -> str:
    """Return a time for people to read."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _seconds(work: Callable[[], object]) -> float:
    """Return the time that something takes; the first time, which is slower, does not count."""
    work()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _step(subject: Subject) -> None:
    inputs = subject.inputs[:BATCH].clone()
    with torch.enable_grad():
        inputs.requires_grad_()
        torch.autograd.grad(loss_towards(0, subject.logits(inputs)), inputs)


def _pass(subject: Subject) -> None:
    with torch.no_grad():
        subject.logits(subject.inputs[:BATCH])
