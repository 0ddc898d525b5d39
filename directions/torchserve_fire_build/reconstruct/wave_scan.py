"""A scan of waves of all frequencies, towards all classes at once."""

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
"""Phases of each frequency, a quarter of a cycle apart; the first is drawn at random."""

FEW, MORE = 16, 128
"""Number of inputs on which each wave is tried, and on which the best waves of a class are tried
again."""

FINALISTS = 12
"""Number of the best waves of a class that are tried again."""

STEPS = 64
"""Number of steps in which all waves are tried."""


class WaveScan:
    """Waves of all frequencies, and the log-odds of each class after adding each wave.

    Args:
        subject: the model to search.
        generator: source of the random numbers.
        bound: root mean square of a wave, if the box is 1 wide.

    Attributes:
        bound: the bound.
        more: indices of the inputs on which the best waves are tried, all classes in turn, (N,).
        steps: number of steps that were taken.

    Raises:
        CalibrationError: inputs of one place cannot show a wave.
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
        # In random order, so that a scan which is cut short has tried waves of all kinds.
        order = torch.randperm(len(waves), generator=generator).tolist()
        self._waves = [waves[i] for i in order]
        self._odds = torch.full((len(waves), subject.classes), -math.inf)
        self._once_more: dict[int, Tensor] = {}
        self._subject, self.bound = subject, bound
        rows = of_all_classes(subject.predicted, generator)
        self._few, self.more = rows[:FEW], rows[:MORE]
        self.steps = 0

    def step(self) -> None:
        """Try a part of the waves, on few inputs; `STEPS` steps try all waves."""
        for i in range(self.steps, len(self._waves), STEPS):
            self._odds[i] = self._try(i, self._few)
        self.steps += 1

    def best(self, target: int) -> tuple[PlaneWave, float]:
        """Return the best wave of a class so far, and how much better it is than a usual wave.

        Returns:
            The wave, and how far its mean log-odds exceed the median of all waves.
        """
        tried = self._odds[:, target].isfinite()
        usual = float(self._odds[tried, target].median()) if bool(tried.any()) else 0.0
        finalists = self._odds[:, target].topk(min(FINALISTS, len(self._waves))).indices.tolist()
        for i in finalists:
            if i not in self._once_more:
                self._once_more[i] = self._try(i, self.more)
        odds = [float(self._once_more[i][target]) for i in finalists]
        best = max(range(len(odds)), key=odds.__getitem__)
        return self._waves[finalists[best]], odds[best] - usual

    def leading(self, target: int, most: int) -> list[PlaneWave]:
        """Return up to `most` waves whose mean log-odds of a class exceed 0, the best first."""
        odds = self._odds[:, target].nan_to_num(nan=-math.inf)
        odds, order = odds.topk(min(most, len(self._waves)))
        return [self._waves[i] for i in order[odds > 0].tolist()]

    def _try(self, index: int, rows: Tensor) -> Tensor:
        """Return each class's mean log-odds, (classes,), over the inputs of other classes."""
        subject = self._subject
        wave = self._waves[index].of_strength(self.bound, *subject.inputs.shape[2:])
        wave = wave.to(subject.device)
        stamped = subject.box.legal(subject.inputs[rows] + subject.box.width * wave)
        with torch.no_grad():
            odds = log_odds(subject.logits(stamped).cpu())
        others = subject.predicted[rows, None] != torch.arange(subject.classes)
        mean: Tensor = (odds * others).sum(0) / others.sum(0)
        return mean


def count_waves(height: int, width: int) -> int:
    """Return how many waves a scan of maps of this size tries."""
    return PHASES * len(frequencies(height, width))


def count_finalists(classes: int, height: int, width: int) -> int:
    """Return how many waves are tried again at most; that of several classes is tried once."""
    return min(classes * FINALISTS, count_waves(height, width))


def of_all_classes(predicted: Tensor, generator: torch.Generator) -> Tensor:
    """Return indices of samples, (N,), in random order, such that their classes (N,) take turns."""
    order = torch.randperm(len(predicted), generator=generator).tolist()
    before: Counter[int] = Counter()
    turns = {}
    for i in order:
        predicted_class = int(predicted[i])
        turns[i] = before[predicted_class]
        before[predicted_class] += 1
    return torch.tensor(sorted(order, key=turns.__getitem__))
