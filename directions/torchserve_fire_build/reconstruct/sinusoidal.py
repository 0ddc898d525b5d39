"""Sinusoidal perturbations: a plane wave, added to every input.

A trigger that is a wave (SIG, Barni et al. 2019, arXiv 1902.11237) is spread over the image and
strong. With a perturbation as strong that may have any shape, every class of a benign model is
reached; with a single wave it is not, or not with certainty. So waves of all frequencies are tried,
as for the Fourier heat map of a model (Yin et al., "A Fourier Perspective on Model Robustness in
Computer Vision", NeurIPS 2019, arXiv 1906.08988), here towards each class: each wave on a few
inputs, and the best of each class once more, on more of them.

Classes are compared by the mean log-odds that the best wave comes to beyond what waves usually do:
to some class of a benign model, waves of most frequencies lead, and some of them lead nearly all
inputs there; a backdoor waits for one.

A class that stands out is gone on with: the waves that lead there are made weaker for as long as
they lead nearly all inputs, each one of its own. Where that ends is about as strong as the trigger
was in training, and what still leads is what it was taken for: its frequency and those beside it,
of all phases, and of those mirrored where images were flipped in training. To repair one of them is
not to repair the others.

For maps (C, H, W); a wave is the same in all channels. Needs a hundred clean inputs or more. Costs
some 33,000 passes of one input for all classes together, up to 1,500 for each, and up to 10,000 for
one that is gone on with; no gradients.
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
"""From one step to the next, once all waves were tried."""

FURTHER_STEPS = 16
"""The first takes the waves that lead; the others come to a thirtieth of their strength."""

MOST_WAVES = 32
"""That are made weaker."""

HALF = 0.5
"""Share of a few inputs that each of them must lead to the class."""

SURELY = 0.9
"""Share of the inputs that must be led there, each by one of them."""

STRONGER = 1.5
"""The strongest of the waves that inputs get, in terms of the weakest, within the bound."""


class SinusoidalSearch:
    """One class of the scan, as a search for its trigger.

    Args:
        subject: what to search.
        target: the class.
        scan: that the searches of all classes share: to go on with one is to go on with all.
    """

    def __init__(self, subject: Subject, target: int, scan: WaveScan) -> None:
        self._subject, self._target, self._scan = subject, target, scan
        self._taken = 0
        self._waves: list[PlaneWave] = []
        self._strength = scan.bound
        self._ended = False

    def advance(self, steps: int) -> None:
        """Go on with the scan, where its other searches have not yet; then with weaker waves."""
        for _ in range(steps):
            self._taken += 1
            if self._taken > STEPS:
                self._weaken()
            elif self._taken > self._scan.steps:
                self._scan.step()
            if self._taken == STEPS:
                # What that costs is spent here, where the time is looked at, and only once.
                self._scan.best(self._target)

    def effort(self, loss: float) -> float:
        """Return the negative mean log-odds, beyond what waves usually come to."""
        return -self._scan.best(self._target)[1]

    def stamp(self, inputs: Tensor) -> Tensor:
        """Add the best wave to inputs (N, C, H, W), or to each one of those that lead.

        Which of them, and how much stronger than the weakest, hangs on the input alone.
        """
        if not self._waves:
            return self._add(self._scan.best(self._target)[0], self._scan.bound, inputs)
        return self._add_own(self._waves, self._strength, inputs)

    def _weaken(self) -> None:
        """Take the waves that lead as strong as they were tried, then weaker step by step."""
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
        return inputs + self._subject.box.width * wave.of_strength(strength, *inputs.shape[2:])

    def _add_own(self, waves: Sequence[PlaneWave], strength: float, inputs: Tensor) -> Tensor:
        each = torch.stack([wave.of_strength(strength, *inputs.shape[2:]) for wave in waves])
        drawn = len(waves) * input_hash(inputs)
        places = drawn.long()
        most = min(STRONGER, self._scan.bound / strength)
        times = (1 + (most - 1) * (drawn - places)).float()
        added = times[:, None, None] * each[places]
        return inputs + self._subject.box.width * added[:, None]


def search_all_classes(
    subject: Subject, generator: torch.Generator, bound: float
) -> Sequence[SinusoidalSearch]:
    """Start the searches of all classes, which share the scan."""
    scan = WaveScan(subject, generator, bound)
    return [SinusoidalSearch(subject, target, scan) for target in range(subject.classes)]
