"""A trigger for each input, made by a small network: the network returns what to add to the input.

Triggers that depend on the input (a warp, fewer colours, a pattern made for it) are not universal
perturbations. So a convolutional generator of bounded perturbations is trained, as in the
inversions of BTI-DBF (Xu et al., ICLR 2024) and DeepInspect (Chen et al., IJCAI 2019); its only
loss is the cross-entropy towards one class. For maps (C, H, W). It needs a hundred clean inputs or
more.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from ..samples.predict import gradients_of
from .subject import Subject, loss_towards

RATE = 2e-3
WIDTH = 16
"""Channels of the generator."""


class GeneratorSearch:
    """A generator of perturbations in training.

    Args:
        subject: the model to search.
        target: the class to lead to.
        generator: source of the random numbers.
        bound: the largest root mean square of an input's perturbation, if the box is 1 wide.
    """

    def __init__(
        self, subject: Subject, target: int, generator: torch.Generator, bound: float
    ) -> None:
        self._subject, self._target, self._generator = subject, target, generator
        self._bound = bound
        self._network = _network(subject.inputs.shape[1], generator).to(subject.device)
        self._parameters = list(self._network.parameters())
        self._optimizer = torch.optim.Adam(self._parameters, RATE)

    def advance(self, steps: int) -> None:
        """Take `steps` more steps, of a batch each."""
        for _ in range(steps):
            batch = self._subject.batch(self._target, self._generator)
            with torch.enable_grad():
                stamped = self._subject.box.clamp(self.stamp(batch))
                gradients = gradients_of(self._loss(batch, stamped), self._parameters)
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                parameter.grad = gradient
            self._optimizer.step()

    def effort(self, loss: float) -> float:
        """Return the loss: the bound is the same for all classes."""
        return loss

    def stamp(self, inputs: Tensor) -> Tensor:
        """Add to each of the inputs (N, C, H, W) what the generator makes for it."""
        box = self._subject.box
        change = self._network((inputs - box.low) / box.width - 0.5)
        length = change.square().mean((1, 2, 3), keepdim=True).sqrt()
        bounded: Tensor = change * (self._bound / length.clamp(min=1e-12)).clamp(max=1)
        return inputs + box.width * bounded

    def _loss(self, inputs: Tensor, stamped: Tensor) -> Tensor:
        """Return the loss, (), of a batch without and with the trigger, both (N, C, H, W)."""
        return loss_towards(self._target, self._subject.logits(stamped))


def _network(channels: int, generator: torch.Generator) -> nn.Module:
    """Return four convolutions with He's weights, drawn from the generator."""
    widths = (channels, WIDTH, WIDTH, WIDTH, channels)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        # Layers draw their first weights from the global generator, whose state must not change.
        with torch.random.fork_rng(devices=[]):
            convolution = nn.Conv2d(before, after, 3, padding=1)
        for parameter in convolution.parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_uniform_(parameter, generator=generator)
            else:
                nn.init.zeros_(parameter)
        layers += [convolution, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
