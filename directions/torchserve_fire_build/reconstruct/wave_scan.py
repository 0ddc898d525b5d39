"""Waves of all frequencies, tried towards all classes at once."""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor

from ..common.errors import CalibrationError
from .log_odds import log_odds
from .plane_wave import PlaneWave, frequencies
from .subject import Subject

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
        bound: as given.
        more: places of the inputs on which the best waves are tried, all classes in turn, (N,).
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
            PlaneWave(*frequency, 2 * math.pi * (begin + phase / PHASES))
            for frequency, begin in zip(shown, begins, strict=True)
            for phase in range(PHASES)
        ]
        # So that a scan which is cut short has tried waves of all kinds.
        order = torch.randperm(len(waves), generator=generator).tolist()
        self._waves = [waves[i] for i in order]
        self._odds = torch.full((len(waves), subject.classes), -math.inf)
        self._once_more: dict[int, Tensor] = {}
        self._subject, self.bound = subject, bound
        rows = of_all_classes(subject.predicted, generator)
        self._few, self.more = rows[:FEW], rows[:MORE]
        self.steps = 0

    def step(self) -> None:
        """Try some of the waves, on few inputs; `STEPS` of these try all."""
        for i in range(self.steps, len(self._waves), STEPS):
            self._odds[i] = self._try(i, self._few)
        self.steps += 1

    def best(self, target: int) -> tuple[PlaneWave, float]:
        """Return the best wave of a class so far, and what it comes to.

        Returns:
            The wave, and by how much its mean log-odds exceed the median of all waves'.
        """
        tried = self._odds[:, target].isfinite()
        usual = float(self._odds[tried, target].median()) if bool(tried.any()) else 0.0
        finalists = self._odds[:, target].topk(min(FINALISTS, len(self._waves))).indices.tolist()
        for i in finalists:
            if i not in self._once_more:
                self._once_more[i] = self._try(i, self.more)
        odds = [float(self._once_more[i][target]) for i in finalists]
        place = max(range(len(odds)), key=odds.__getitem__)
        return self._waves[finalists[place]], odds[place] - usual

    def leading(self, target: int, most: int) -> list[PlaneWave]:
        """Return the waves so far whose mean log-odds of a class are above 0, the best first."""
        odds = self._odds[:, target].nan_to_num(nan=-math.inf)
        odds, order = odds.topk(min(most, len(self._waves)))
        return [self._waves[i] for i in order[odds > 0].tolist()]

    def _try(self, index: int, rows: Tensor) -> Tensor:
        """Return each class's mean log-odds, (classes,), over the inputs that are of others."""
        subject = self._subject
        wave = self._waves[index].of_strength(self.bound, *subject.inputs.shape[2:])
        stamped = subject.box.legal(subject.inputs[rows] + subject.box.width * wave)
        with torch.no_grad():
            odds = log_odds(subject.logits(stamped))
        others = subject.predicted[rows, None] != torch.arange(subject.classes)
        mean: Tensor = (odds * others).sum(0) / others.sum(0)
        return mean


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
