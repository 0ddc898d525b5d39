"""Sinusoidal perturbations: one plane wave, added to every input.

A trigger that is a wave (SIG, Barni et al. 2019, arXiv 1902.11237) is spread over the image and
strong. With a perturbation as strong that may have any shape, every class of a benign model is
reached; with a single wave it is not, or not with certainty. So waves of all frequencies are tried,
as for the Fourier heat map of a model (Yin et al., "A Fourier Perspective on Model Robustness in
Computer Vision", NeurIPS 2019, arXiv 1906.08988), here towards each class: each wave on a few
inputs, and the best of each class once more, on more of them.

Classes are compared by the mean log-odds that the best wave comes to beyond what waves usually do:
to some class of a benign model, waves of most frequencies lead, and some of them lead nearly all
inputs there; a backdoor waits for one.

For maps (C, H, W); a wave is the same in all channels. Needs a hundred clean inputs or more. Costs
some 33,000 passes of one input for all classes together, and up to 1,500 for each; no gradients.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import CalibrationError
from .log_odds import log_odds
from .subject import Subject

NAME = "sinusoidal"

CYCLES = 16
"""Along each side, at most: what small images can show."""

PHASES = 4
"""Of each frequency, a quarter of a cycle apart; where they begin is drawn."""

FEW, MORE = 16, 128
"""Inputs on which each wave is tried, and the best waves of a class once more."""

FINALISTS = 12
"""The best waves of a class."""

STEPS = 64
"""In which all waves are tried."""


class WaveScan:
    """Waves of all frequencies, and the log-odds of each class that each of them leads to.

    Args:
        subject: what to search.
        generator: of the phases, the order and the inputs.
        bound: root mean square of a wave, where the box is 1 wide.

    Attributes:
        steps: that were taken.

    Raises:
        CalibrationError: inputs of one place show no wave.
    """

    def __init__(self, subject: Subject, generator: torch.Generator, bound: float) -> None:
        height, width = subject.inputs.shape[2:]
        shown = frequencies(height, width)
        if not shown:
            raise CalibrationError(
                f"inputs of {height} x {width}: expected more than one place to show a wave"
            )
        begins = torch.rand(len(shown), generator=generator).tolist()
        waves = [
            (*frequency, 2 * math.pi * (begin + phase / PHASES))
            for frequency, begin in zip(shown, begins, strict=True)
            for phase in range(PHASES)
        ]
        # So that a scan which is cut short has tried waves of all kinds.
        order = torch.randperm(len(waves), generator=generator).tolist()
        self._waves = [waves[i] for i in order]
        self._odds = torch.full((len(waves), subject.classes), -math.inf)
        self._once_more: dict[int, Tensor] = {}
        self._subject, self._bound = subject, bound
        rows = of_all_classes(subject.predicted, generator)
        self._few, self._more = rows[:FEW], rows[:MORE]
        self.steps = 0

    def step(self) -> None:
        """Try some of the waves, on few inputs; `STEPS` of these try all."""
        for i in range(self.steps, len(self._waves), STEPS):
            self._odds[i] = self._try(i, self._few)
        self.steps += 1

    def best(self, target: int) -> tuple[Tensor, float]:
        """Return the best wave of a class so far, (H, W), and what it comes to.

        Returns:
            The wave, and by how much its mean log-odds exceed the median of all waves'.
        """
        tried = self._odds[:, target].isfinite()
        usual = float(self._odds[tried, target].median()) if bool(tried.any()) else 0.0
        finalists = self._odds[:, target].topk(min(FINALISTS, len(self._waves))).indices.tolist()
        for i in finalists:
            if i not in self._once_more:
                self._once_more[i] = self._try(i, self._more)
        odds = [float(self._once_more[i][target]) for i in finalists]
        place = max(range(len(odds)), key=odds.__getitem__)
        return self._values(finalists[place]), odds[place] - usual

    def _values(self, index: int) -> Tensor:
        values = plane_wave(*self._subject.inputs.shape[2:], *self._waves[index])
        # Of what alternates from place to place, some phases are 0 nearly everywhere.
        return self._bound * values / values.square().mean().sqrt().clamp(min=1e-3)

    def _try(self, index: int, rows: Tensor) -> Tensor:
        """Return each class's mean log-odds, (classes,), over the inputs that are of others."""
        subject = self._subject
        stamped = subject.box.legal(subject.inputs[rows] + subject.box.width * self._values(index))
        with torch.no_grad():
            odds = log_odds(subject.logits(stamped))
        others = subject.predicted[rows, None] != torch.arange(subject.classes)
        mean: Tensor = (odds * others).sum(0) / others.sum(0)
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

    def advance(self, steps: int) -> None:
        """See that the scan has taken so many steps more than this search had asked for."""
        self._asked += steps
        while self._scan.steps < min(self._asked, STEPS):
            self._scan.step()
        if self._asked >= STEPS:
            # What that costs is spent here, where the time is looked at, and only once.
            self._scan.best(self._target)

    def effort(self, loss: float) -> float:
        """Return the negative mean log-odds, beyond what waves usually come to."""
        return -self._scan.best(self._target)[1]

    def stamp(self, inputs: Tensor) -> Tensor:
        """Add the wave to inputs (N, C, H, W)."""
        return inputs + self._subject.box.width * self._scan.best(self._target)[0]


def search_all_classes(
    subject: Subject, generator: torch.Generator, bound: float
) -> Sequence[SinusoidalSearch]:
    """Start the searches of all classes, which share the scan."""
    scan = WaveScan(subject, generator, bound)
    return [SinusoidalSearch(subject, target, scan) for target in range(subject.classes)]


def frequencies(height: int, width: int) -> list[tuple[int, int]]:
    """Return the frequencies that a grid shows, each once: cycles down, and cycles across."""
    down, across = (min(CYCLES, side // 2) for side in (height, width))
    seen: dict[tuple[int, int], tuple[int, int]] = {}
    for v, u in itertools.product(range(down + 1), range(-across, across + 1)):
        # On a grid, a wave is the same as that of the opposite direction, and of a cycle more in
        # each place.
        place, mirrored = (v % height, u % width), (-v % height, -u % width)
        if place != (0, 0):
            seen.setdefault(min(place, mirrored), (v, u))
    return list(seen.values())


def plane_wave(height: int, width: int, down: int, across: int, phase: float) -> Tensor:
    """Return a wave, (height, width), with an amplitude of 1; its phase at the first place."""
    rows, columns = (torch.arange(side) / side for side in (height, width))
    cycles = down * rows[:, None] + across * columns
    values: Tensor = torch.cos(2 * math.pi * cycles + phase)
    return values


def of_all_classes(predicted: Tensor, generator: torch.Generator) -> Tensor:
    """Return the places of classes (N,) in an order in which these take turns, drawn else, (N,)."""
    order = torch.randperm(len(predicted), generator=generator).tolist()
    before: Counter[int] = Counter()
    turns = {}
    for i in order:
        of = int(predicted[i])
        turns[i] = before[of]
        before[of] += 1
    return torch.tensor(sorted(order, key=turns.__getitem__))
