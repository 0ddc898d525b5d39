"""Sinusoidal perturbations: one plane wave, added to every input.

A trigger that is a wave (SIG, Barni et al. 2019, arXiv 1902.11237) is spread over the image and
strong. With a perturbation of its strength that may have any shape, every class of a benign model
is reached; with a single wave it is not, or not with certainty. So all waves are tried, as for the
Fourier heat map of a model (Yin et al., "A Fourier Perspective on Model Robustness in Computer
Vision", NeurIPS 2019, arXiv 1906.08988), here towards each class: each wave on a few inputs, and
the best of each class once more, on more of them. Classes are compared by the mean log-odds that
they come to, since nearly all inputs may be led to a class of a benign model, too, but barely.

For maps (C, H, W); the waves are the same in all channels. Needs no gradients, and a hundred clean
inputs or more. Costs some 35,000 passes of one input, once for all classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .subject import Subject

NAME = "sinusoidal"

CYCLES = 16
"""Along each side, at most: what small images can show."""

PHASES = 4
FEW, MORE = 16, 128
"""Inputs on which each wave is tried, and the best waves of a class once more."""

FINALISTS = 12
"""The best waves of a class."""

STEPS = 64
"""In which all waves are tried."""


@dataclass(frozen=True)
class Wave:
    """A plane wave.

    Attributes:
        down: cycles along the height.
        across: cycles along the width.
        phase: at the first place, in radians.
    """

    down: int
    across: int
    phase: float

    def values(self, height: int, width: int) -> Tensor:
        """Return it on a grid, (height, width), with an amplitude of 1."""
        rows, columns = (torch.arange(side) / side for side in (height, width))
        cycles = self.down * rows[:, None] + self.across * columns
        values: Tensor = torch.cos(2 * math.pi * cycles + self.phase)
        return values


class WaveScan:
    """All waves, and the log-odds of each class that each of them leads to.

    Args:
        subject: what to search.
        generator: of the inputs.
        bound: root mean square of a wave, where the box is 1 wide.

    Attributes:
        steps: that were taken.
    """

    def __init__(self, subject: Subject, generator: torch.Generator, bound: float) -> None:
        self._subject, self._bound = subject, bound
        order = torch.randperm(len(subject.inputs), generator=generator)
        self._few, self._more = order[:FEW], order[:MORE]
        height, width = subject.inputs.shape[2:]
        self._waves = waves_of(height, width)
        self._odds = torch.full((len(self._waves), subject.classes), -math.inf)
        self.steps = 0

    def step(self) -> None:
        """Try some of the waves, on few inputs; after `STEPS`, there is none left."""
        if self.steps < STEPS:
            for i in range(self.steps, len(self._waves), STEPS):
                self._odds[i] = self._try(i, self._few)
        self.steps += 1

    def best(self, target: int) -> tuple[Tensor, float]:
        """Return the best wave of a class so far, (H, W), and the mean log-odds it comes to."""
        finalists = self._odds[:, target].topk(min(FINALISTS, len(self._waves))).indices.tolist()
        odds = [float(self._try(i, self._more)[target]) for i in finalists]
        place = max(range(len(odds)), key=odds.__getitem__)
        return self._values(finalists[place]), odds[place]

    def _values(self, index: int) -> Tensor:
        height, width = self._subject.inputs.shape[2:]
        values = self._waves[index].values(height, width)
        return self._bound * values / values.square().mean().sqrt()

    def _try(self, index: int, rows: Tensor) -> Tensor:
        """Return each class's mean log-odds, (classes,), over the inputs that are of others."""
        subject = self._subject
        stamped = subject.box.legal(subject.inputs[rows] + subject.box.width * self._values(index))
        with torch.no_grad():
            odds = log_odds(subject.logits(stamped))
        others = subject.predicted[rows, None] != torch.arange(subject.classes)
        mean: Tensor = (odds * others).sum(0) / others.sum(0).clamp(min=1)
        return mean


class SinusoidalSearch:
    """One class of the scan, as a search for its trigger.

    Args:
        subject: what to search.
        target: the class.
        scan: that the searches of all classes share: to go on with one is to go on with all.
    """

    def __init__(self, subject: Subject, target: int, scan: WaveScan) -> None:
        self._subject, self._target, self._scan = subject, target, scan
        self._asked = 0
        self._best: tuple[Tensor, float] | None = None

    def advance(self, steps: int) -> None:
        """See that the scan has taken so many steps more than this search had asked for."""
        self._asked += steps
        while self._scan.steps < self._asked:
            self._scan.step()
        self._best = None

    def effort(self, loss: float) -> float:
        """Return the negative mean log-odds, which a few inputs that stay do not outweigh."""
        return -self._found()[1]

    def stamp(self, inputs: Tensor) -> Tensor:
        """Add the wave to inputs (N, C, H, W)."""
        return inputs + self._subject.box.width * self._found()[0]

    def _found(self) -> tuple[Tensor, float]:
        if self._best is None:
            self._best = self._scan.best(self._target)
        return self._best


def search_all_classes(
    subject: Subject, generator: torch.Generator, bound: float
) -> Sequence[SinusoidalSearch]:
    """Start the searches of all classes, which share the scan."""
    scan = WaveScan(subject, generator, bound)
    return [SinusoidalSearch(subject, target, scan) for target in range(subject.classes)]


def waves_of(height: int, width: int) -> list[Wave]:
    """Return the waves that a grid shows."""
    down, across = (min(CYCLES, side // 2) for side in (height, width))
    waves = [
        Wave(v, u, 2 * math.pi * k / PHASES)
        for v in range(down + 1)
        for u in range(1 - across, across + 1)
        # Half of the plane holds all of them, but for its middle, which does not vary.
        if v > 0 or u > 0
        for k in range(PHASES)
    ]
    # Of what alternates from place to place, some phases are 0 everywhere.
    return [wave for wave in waves if float(wave.values(height, width).abs().max()) > 1e-3]


def log_odds(logits: Tensor) -> Tensor:
    """Return ln(p / (1 - p)) of each class, float32, of logits (N, classes)."""
    chance = logits.double().log_softmax(1)
    # Where a class is certain to the last digit, as if it were not quite.
    other = torch.log(-torch.expm1(chance).clamp(max=-1e-12))
    return (chance - other).float()
