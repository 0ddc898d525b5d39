"""DeepInspect (Chen et al., IJCAI 2019): one conditional generator makes triggers of all classes.

Of noise and a class a network makes what is added to any input to lead it there. It is trained for
all classes at once, so that they share what moves any input; a class whose triggers can be much
smaller than those of the others is the target of a backdoor. Works on images that were recovered
from the model (`inversion`), or on clean ones.

As in the paper are the generator of noise and class, the loss towards the class, the penalty of the
perturbation's L1 norm, and that triggers are wanted which work nearly always. Left out is the
paper's GAN loss, which public implementations leave out, too: its discriminator is the model that
is inspected, so it asks for little that the loss towards the class does not. Ours are the network,
all numbers, that each class has a weight of the penalty, which grows and falls as in Neural Cleanse
in place of one that a person adjusts, that the smallest trigger that worked is kept, and that
classes are compared by the logarithm of its size and by one MAD in place of one for each side. The
paper's patching, which trains the model on with such triggers, is `sanitize.patching`.

For maps (C, H, W). Needs a hundred inputs or more. A step costs a batch for each ten classes: a
tenth of what searching each by itself takes.
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
"""Inputs in each step for each class; one trigger is put on all of them."""

TOGETHER = 10
"""Classes in one batch."""

FIRST_WEIGHT = 1e-3
FACTOR = 2.0
PATIENCE = 10
"""Steps between two changes of the weights."""

SUCCESS = 0.95
TRIED = 40
"""Inputs that a trigger must lead there, before it is kept."""

RESOLUTION = 0.1
"""By how much the logarithm of a trigger's size differs from one training to the next."""


class DeepInspect:
    """The generator in training; for maps (C, H, W).

    Args:
        subject: what to search.
        generator: of the first weights, of the noise and of the batches.

    Attributes:
        steps: that were taken.
        sizes: L1 norm of each class's smallest trigger that works, on average over the channels,
            in pixels, (classes,); infinite until one works.
    """

    def __init__(self, subject: Subject, generator: torch.Generator) -> None:
        self._subject, self._generator = subject, generator
        channels, height, width = subject.inputs.shape[1:]
        # Layers draw their first weights from the global generator, which is not ours to move.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            self._network = TriggerGenerator(subject.classes, (channels, height, width))
        self._parameters = list(self._network.parameters())
        self._optimizer = torch.optim.Adam(self._parameters, RATE)
        self._weights = torch.full((subject.classes,), FIRST_WEIGHT)
        self._successes = torch.zeros(subject.classes)
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
        """Return the smallest trigger of a class that worked, or one so far, (C, H, W)."""
        if target in self._best:
            return self._best[target]
        with torch.no_grad():
            made: Tensor = self._network(torch.zeros(1, NOISE), torch.tensor([target]))
        return made[0]

    def _train(self, targets: Tensor) -> Tensor:
        """Take a step towards some classes (n,), and return what was tried, (n, C, H, W)."""
        box = self._subject.box
        rows = [self._subject.draw(t, self._generator, INPUTS) for t in targets.tolist()]
        inputs = self._subject.inputs[torch.cat(rows)]
        noise = torch.randn(len(targets), NOISE, generator=self._generator)
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
        """Keep what worked and is smaller than before, and change the weights of the penalty."""
        works = self._successes[targets] / PATIENCE >= SUCCESS
        sizes = _sizes(triggers)
        for i, target in enumerate(targets.tolist()):
            smaller = bool(sizes[i] < self.sizes[target])
            # That the triggers of other noise worked does not say that this one does.
            if works[i] and smaller and self._success(triggers[i], target) >= SUCCESS:
                self.sizes[target] = sizes[i]
                self._best[target] = triggers[i]
        self._weights[targets] *= torch.where(works, FACTOR, FACTOR**-1.5)
        self._successes[targets] = 0

    def _success(self, trigger: Tensor, target: int) -> float:
        box = self._subject.box
        inputs = self._subject.batch(target, self._generator, TRIED)
        return self._subject.success(box.legal(inputs + box.width * trigger), target)


class ClassSearch:
    """One class of the generator, as a search for its trigger.

    The classes' searches share the generator: to go on with one is to go on with all, and what one
    of them has asked for costs the others nothing.

    Args:
        subject: what to search.
        target: the class.
        generator: that is shared.
    """

    def __init__(self, subject: Subject, target: int, generator: DeepInspect) -> None:
        self._subject, self._target, self._generator = subject, target, generator
        self._asked = generator.steps

    def advance(self, steps: int) -> None:
        """See that the generator has taken so many steps more than this search had asked for."""
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
    """Start the searches of all classes, which share a generator; it finds its bound by itself."""
    shared = DeepInspect(subject, generator)
    return [ClassSearch(subject, target, shared) for target in range(subject.classes)]


def _sizes(triggers: Tensor) -> Tensor:
    """Return the L1 norms of triggers (N, C, H, W), on average over C, (N,)."""
    return triggers.abs().sum((1, 2, 3)) / triggers.shape[1]
