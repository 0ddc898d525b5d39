"""DeepInspect (Chen et al., IJCAI 2019): one conditional generator makes triggers of all classes.

From noise and a class, a network makes a trigger: what is added to any input to lead it to the
class. The network is trained for all classes at once, so what moves any input is learnt only once.
A class whose triggers can be much smaller than those of other classes is the target of a backdoor.
It works on clean images, or on images that were recovered from the model (`inversion`).

As in the paper: the generator of noise and class, the loss towards the class, the penalty on the
perturbation's L1 norm, and the aim of triggers that work nearly always. Left out: the paper's GAN
loss, as in public implementations. Its discriminator is the inspected model, so it asks for little
that the loss towards the class does not ask for. Ours: the network; all numbers; a penalty weight
for each class, which grows and falls as in Neural Cleanse, instead of one that is adjusted by hand;
that the smallest trigger that worked is kept; and that classes are compared by the logarithm of its
size, with one MAD instead of one for each side. The paper's patching, which trains the model with
such triggers, is `sanitize.patching`.

For maps (C, H, W). It needs a hundred inputs or more. A step costs one batch for every ten classes:
a tenth of what separate searches would cost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ..samples.predict import gradients_of
from .subject import Subject
from .trigger_generator import NOISE, TriggerGenerator

NAME = "deepinspect"

RATE = 2e-3
INPUTS = 6
"""Inputs for each class in each step; all of them get the same trigger."""

TOGETHER = 10
"""Number of classes in one batch."""

FIRST_WEIGHT = 1e-3
FACTOR = 2.0
PATIENCE = 10
"""Steps between two changes of the weights."""

SUCCESS = 0.95
TRIED = 40
"""Number of inputs on which a trigger must reach `SUCCESS` before it is kept."""

RESOLUTION = 0.1
"""How much the logarithm of a trigger's size varies from training to training."""


class DeepInspect:
    """The generator in training; for maps (C, H, W).

    Args:
        subject: the model to search.
        generator: source of the random numbers.

    Attributes:
        steps: number of steps that were taken.
        sizes: L1 norm of each class's smallest trigger that works, averaged over the channels, in
            pixels, (classes,); infinite until one works.
    """

    def __init__(self, subject: Subject, generator: torch.Generator) -> None:
        self._subject, self._generator = subject, generator
        channels, height, width = subject.inputs.shape[1:]
        # Layers draw their first weights from the global generator, whose state must not change.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            network = TriggerGenerator(subject.classes, (channels, height, width))
        self._network = network.to(subject.device)
        self._parameters = list(self._network.parameters())
        self._optimizer = torch.optim.Adam(self._parameters, RATE)
        self._weights = torch.full((subject.classes,), FIRST_WEIGHT, device=subject.device)
        self._successes = torch.zeros(subject.classes, device=subject.device)
        self._best: dict[int, Tensor] = {}
        self.steps = 0
        self.sizes = torch.full((subject.classes,), math.inf)

    def step(self) -> None:
        """Train on a few inputs towards each class."""
        self.steps += 1
        order = torch.randperm(self._subject.classes, generator=self._generator)
        for targets in torch.split(order, TOGETHER):
            triggers = self._train(targets)
            if self.steps % PATIENCE == 0:
                self._keep(targets, triggers)

    def trigger(self, target: int) -> Tensor:
        """Return the smallest trigger of a class that worked, else a present one, (C, H, W)."""
        if target in self._best:
            return self._best[target]
        with torch.no_grad():
            made: Tensor = self._network(
                torch.zeros(1, NOISE, device=self._subject.device),
                torch.full((1,), target, device=self._subject.device),
            )
        return made[0]

    def _train(self, targets: Tensor) -> Tensor:
        """Take a step towards classes (n,), and return the triggers it used, (n, C, H, W)."""
        box = self._subject.box
        rows = [self._subject.draw(t, self._generator, INPUTS) for t in targets.tolist()]
        inputs = self._subject.inputs[torch.cat(rows)]
        noise = torch.randn(len(targets), NOISE, generator=self._generator).to(inputs.device)
        targets = targets.to(inputs.device)
        wanted = targets.repeat_interleave(INPUTS)
        with torch.enable_grad():
            triggers = self._network(noise, targets)
            spread = triggers.repeat_interleave(INPUTS, 0)
            logits = self._subject.logits(box.clamp(inputs + box.width * spread))
            penalty = (self._weights[targets] * _sizes(triggers)).mean()
            gradients = gradients_of(F.cross_entropy(logits, wanted) + penalty, self._parameters)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        self._optimizer.step()
        led = (logits.argmax(1) == wanted).float()
        self._successes[targets] += led.view(-1, INPUTS).mean(1)
        made: Tensor = triggers.detach()
        return made

    def _keep(self, targets: Tensor, triggers: Tensor) -> None:
        """Keep triggers that work and are smaller than before; update the penalty weights."""
        works = (self._successes[targets] / PATIENCE >= SUCCESS).cpu()
        sizes = _sizes(triggers).cpu()
        for i, target in enumerate(targets.tolist()):
            smaller = bool(sizes[i] < self.sizes[target])
            # Triggers from other noise worked; this one need not.
            if works[i] and smaller and self._success(triggers[i], target) >= SUCCESS:
                self.sizes[target] = sizes[i]
                self._best[target] = triggers[i]
        self._weights[targets] *= torch.where(works, FACTOR, FACTOR**-1.5).to(self._weights.device)
        self._successes[targets] = 0

    def _success(self, trigger: Tensor, target: int) -> float:
        box = self._subject.box
        inputs = self._subject.batch(target, self._generator, TRIED)
        return self._subject.success(box.legal(inputs + box.width * trigger), target)


class ClassSearch:
    """One class of the generator, as a search for its trigger.

    The searches of all classes share the generator. A step of one search advances all of them, and
    costs the others nothing.

    Args:
        subject: the model to search.
        target: the class.
        generator: the shared generator.
    """

    def __init__(self, subject: Subject, target: int, generator: DeepInspect) -> None:
        self._subject, self._target, self._generator = subject, target, generator
        self._asked = generator.steps

    def advance(self, steps: int) -> None:
        """Ask for `steps` more steps; take those that no other search has asked for before."""
        self._asked += steps
        while self._generator.steps < self._asked:
            self._generator.step()

    def effort(self, loss: float) -> float:
        """Return the logarithm of the trigger's size: triggers differ by factors."""
        size = float(self._generator.sizes[self._target])
        return math.log(min(size, self._subject.inputs[0, 0].numel()))

    def stamp(self, inputs: Tensor) -> Tensor:
        """Add the class's trigger to inputs (N, C, H, W)."""
        return inputs + self._subject.box.width * self._generator.trigger(self._target)


def search_all_classes(
    subject: Subject, generator: torch.Generator, bound: float
) -> Sequence[ClassSearch]:
    """Start the searches of all classes, which share a generator; `bound` is not used."""
    shared = DeepInspect(subject, generator)
    return [ClassSearch(subject, target, shared) for target in range(subject.classes)]


def _sizes(triggers: Tensor) -> Tensor:
    """Return the L1 norms of triggers (N, C, H, W), averaged over C, (N,)."""
    return triggers.abs().sum((1, 2, 3)) / triggers.shape[1]
