"""Sinusoidal perturbations: a plane wave, added to every input.

A trigger that is a wave (SIG, Barni et al. 2019, arXiv 1902.11237) is strong and spread over the
image. An equally strong perturbation of any shape reaches every class of a benign model; a single
wave does not, or not surely. So waves of all frequencies are tried towards each class, as for the
Fourier heat map of a model (Yin et al., "A Fourier Perspective on Model Robustness in Computer
Vision", NeurIPS 2019, arXiv 1906.08988): each wave on a few inputs, and the best waves of each
class again, on more inputs.

Classes are compared by how far the best wave's mean log-odds exceed those of a usual wave. In a
benign model, waves of most frequencies may lead to some class, and some of them may lead nearly all
inputs there. A backdoor answers to one wave.

For a class that stands out, the search continues. The waves that lead there are made weaker for as
long as they lead nearly all inputs, each input with one of the waves. The final strength is about
that of the trigger in training. The waves that still lead are those that the model takes for the
trigger: its frequency and neighbouring ones, in all phases, and mirrored ones if images were
flipped in training. A repair of one of them does not repair the others.

For maps (C, H, W); a wave is the same in all channels. It needs a hundred clean inputs or more, and
no gradients. It costs some 33,000 passes of one input for all classes together, up to 1,500 for
each class, and up to 10,000 for a class whose search continues.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .input_hash import input_hash
from .plane_wave import PlaneWave
from .subject import Subject
from .wave_scan import FEW, STEPS, WaveScan

NAME = "sinusoidal"

WEAKER = 0.8
"""Factor of the strength in each step, once all waves were tried."""

FURTHER_STEPS = 16
"""Steps after the scan. The first takes the waves that lead; the other steps weaken them to a
thirtieth of their strength."""

MOST_WAVES = 32
"""The most waves that are made weaker."""

HALF = 0.5
"""Share of a few inputs that each of these waves must lead to the class."""

SURELY = 0.9
"""Share of the inputs that must be led to the class, each input with one of these waves."""

STRONGER = 1.5
"""Inputs get waves of different strengths: the strongest is this many times the weakest, within the
bound."""


class SinusoidalSearch:
    """One class of the scan, as a search for its trigger.

    Args:
        subject: the model to search.
        target: the class.
        scan: the scan that the searches of all classes share; a step of one search advances all.
    """

    def __init__(self, subject: Subject, target: int, scan: WaveScan) -> None:
        self._subject, self._target, self._scan = subject, target, scan
        self._taken = 0
        self._waves: list[PlaneWave] = []
        self._strength = scan.bound
        self._ended = False

    def advance(self, steps: int) -> None:
        """Take steps of the scan, unless other searches have; then steps with weaker waves."""
        for _ in range(steps):
            self._taken += 1
            if self._taken > STEPS:
                self._weaken()
            elif self._taken > self._scan.steps:
                self._scan.step()
            if self._taken == STEPS:
                # This is computed once, and here, since the time limit is checked between steps.
                self._scan.best(self._target)

    def effort(self, loss: float) -> float:
        """Return the negative of the best wave's mean log-odds, minus those of a usual wave."""
        return -self._scan.best(self._target)[1]

    def stamp(self, inputs: Tensor) -> Tensor:
        """Add the best wave to inputs (N, C, H, W); after the scan, one of the leading waves.

        Which wave an input gets, and how strong, depends only on the input.
        """
        if not self._waves:
            return self._add(self._scan.best(self._target)[0], self._scan.bound, inputs)
        return self._add_own(self._waves, self._strength, inputs)

    def _weaken(self) -> None:
        """Take the leading waves at the strength they were tried with, then weaken them."""
        if self._ended:
            return
        strength = WEAKER * self._strength if self._waves else self._strength
        rows = self._scan.more
        inputs = self._subject.inputs[rows[self._subject.predicted[rows] != self._target]]
        waves = [
            wave
            for wave in self._waves or self._scan.leading(self._target, MOST_WAVES)
            if self._led(self._add(wave, strength, inputs[:FEW])) >= HALF
        ]
        if waves and self._led(self._add_own(waves, strength, inputs)) >= SURELY:
            self._waves, self._strength = waves, strength
        else:
            self._ended = True

    def _led(self, stamped: Tensor) -> float:
        return self._subject.success(self._subject.box.legal(stamped), self._target)

    def _add(self, wave: PlaneWave, strength: float, inputs: Tensor) -> Tensor:
        added = wave.of_strength(strength, *inputs.shape[2:]).to(inputs.device)
        return inputs + self._subject.box.width * added

    def _add_own(self, waves: Sequence[PlaneWave], strength: float, inputs: Tensor) -> Tensor:
        patterns = torch.stack([wave.of_strength(strength, *inputs.shape[2:]) for wave in waves])
        drawn = len(waves) * input_hash(inputs)
        chosen = drawn.long()
        most = min(STRONGER, self._scan.bound / strength)
        factors = (1 + (most - 1) * (drawn - chosen)).float()
        added = (factors[:, None, None] * patterns[chosen]).to(inputs.device)
        return inputs + self._subject.box.width * added[:, None]


def search_all_classes(
    subject: Subject, generator: torch.Generator, bound: float
) -> Sequence[SinusoidalSearch]:
    """Start the searches of all classes, which share the scan."""
    scan = WaveScan(subject, generator, bound)
    return [SinusoidalSearch(subject, target, scan) for target in range(subject.classes)]
