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
one of them leads nearly all inputs. Where that ends is about as strong as the trigger was in
training, and what still leads is what it was taken for: its frequency and those beside it, of all
phases, and of those mirrored where images were flipped in training. To repair one of them is not to
repair the others, so that each input gets one of its own.

For maps (C, H, W); a wave is the same in all channels. Needs a hundred clean inputs or more. Costs
some 33,000 passes of one input for all classes together, up to 1,500 for each, and up to 10,000 for
one that is gone on with; no gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .log_odds import log_odds
from .own_draw import own_draw
from .plane_wave import PlaneWave
from .subject import Subject
from .wave_scan import FEW, MORE, STEPS, WaveScan

NAME = "sinusoidal"

WEAKER = 0.8
"""From one step to the next, once all waves were tried."""

FURTHER_STEPS = 16
"""Of these, the first takes the waves that lead; the others come to a thirtieth of their strength,
below what 8 bits show."""

LEADING = 32
"""Waves that are made weaker, at most."""

LEADS = 0.95
"""Share of the inputs that the best of them must lead to the class."""

STRONGER = 1.5
"""The strongest of the waves that inputs get, in terms of the weakest."""


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
        self._leading: list[PlaneWave] = []
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
        size = inputs.shape[2:]
        if not self._leading:
            best, _ = self._scan.best(self._target)
            return inputs + self._subject.box.width * best.of_strength(self._scan.bound, *size)
        waves = torch.stack([wave.of_strength(self._strength, *size) for wave in self._leading])
        drawn = len(waves) * own_draw(inputs)
        places = drawn.long()
        times = 1 + (STRONGER - 1) * (drawn - places)
        added = times.float()[:, None, None] * waves[places]
        return inputs + self._subject.box.width * added[:, None]

    def _weaken(self) -> None:
        """Take the waves that lead as strong as they were tried, then weaker step by step."""
        if self._ended:
            return
        strength = WEAKER * self._strength if self._leading else self._strength
        waves = self._leading or self._scan.leading(self._target, LEADING)
        others = self._subject.others(self._target)
        odds = [float(self._odds(wave, strength, others[:FEW]).mean()) for wave in waves]
        order = sorted(range(len(waves)), key=odds.__getitem__, reverse=True)
        leading = [waves[i] for i in order if odds[i] > 0]
        if leading and self._leads(leading[0], strength, others[:MORE]):
            self._leading, self._strength = leading, strength
        else:
            self._ended = True

    def _leads(self, wave: PlaneWave, strength: float, inputs: Tensor) -> bool:
        return float((self._odds(wave, strength, inputs) > 0).float().mean()) >= LEADS

    def _odds(self, wave: PlaneWave, strength: float, inputs: Tensor) -> Tensor:
        """Return the log-odds of the class for inputs (N, C, H, W) with a wave, (N,)."""
        subject = self._subject
        added = subject.box.width * wave.of_strength(strength, *inputs.shape[2:])
        with torch.no_grad():
            odds = log_odds(subject.logits(subject.box.legal(inputs + added)))
        return odds[:, self._target]


def search_all_classes(
    subject: Subject, generator: torch.Generator, bound: float
) -> Sequence[SinusoidalSearch]:
    """Start the searches of all classes, which share the scan."""
    scan = WaveScan(subject, generator, bound)
    return [SinusoidalSearch(subject, target, scan) for target in range(subject.classes)]
