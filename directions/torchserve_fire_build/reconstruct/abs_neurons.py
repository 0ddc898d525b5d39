"""Artificial Brain Stimulation (Liu et al., CCS 2019): the neuron of a backdoor, then its trigger.

A neuron that carries a backdoor leads to one class, whatever the input, once it is stimulated. So
each channel of a late layer is set to several values on clean inputs. For the channels that elevate
the class most, small patches are searched for that excite them. The neuron whose patch leads to the
class best is the compromised one. A class's own neurons elevate it, too, but no small patch excites
them on inputs of other classes. The search then goes on with one more loss: that towards the class.

As in the paper: the stimulation, the choice by what a patch of bounded size does, and the search
for a patch through the neuron. Ours: the optimiser, mask and pattern (those of Neural Cleanse), the
single layer (the last candidate), all numbers, the loss towards the class, and the comparison of
classes by this loss. Left out: the paper's penalty for exciting other neurons, and triggers that
are filters instead of patches.

It needs a hundred clean inputs or more, and a layer that all information passes through. It starts
with the stimulation and `CANDIDATES * TRIAL` steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.hooks import edit_features
from ..estimate.channels import channel_means
from .late_layer import late_layer
from .patch import PatchOptimizer
from .stimulation import Neuron, rank_neurons
from .subject import Subject, loss_towards

CANDIDATES = 3
"""Number of neurons for which a patch is searched."""

TRIAL = 20
"""Steps of the search that shows whether a patch can excite a neuron."""


class AbsSearch:
    """A search for a patch that excites one neuron; for maps (C, H, W).

    Args:
        subject: the model to search.
        target: the class to lead to.
        generator: source of the random numbers.
        bound: share of the places that the mask may cover.

    Attributes:
        neuron: the neuron that was chosen.

    Raises:
        CalibrationError: the model has no layer that all information passes through.
    """

    def __init__(
        self, subject: Subject, target: int, generator: torch.Generator, bound: float
    ) -> None:
        self._subject, self._target, self._generator = subject, target, generator
        self._limit = bound * subject.inputs[0, 0].numel()
        layer = late_layer(subject)
        candidates = rank_neurons(subject, layer, target)[:CANDIDATES]
        trials = [self._try(neuron) for neuron in candidates]
        best = min(trials, key=lambda trial: trial.loss)
        self.neuron, self._optimizer = best.neuron, best.optimizer

    def advance(self, steps: int) -> None:
        """Take `steps` more steps, of a batch each."""
        for _ in range(steps):
            with torch.enable_grad():
                lack, loss = self._losses(self.neuron, self._optimizer)
                self._optimizer.step(lack + loss)
            self._optimizer.shrink(self._limit)

    def effort(self, loss: float) -> float:
        """Return the loss: the bound is the same for all classes."""
        return loss

    def stamp(self, inputs: Tensor) -> Tensor:
        """Put the patch on inputs (N, C, H, W)."""
        return self._optimizer.patch().detach().put_on(inputs)

    def _try(self, neuron: Neuron) -> _Trial:
        """Search for a patch that excites a neuron, without the loss towards the class."""
        shape = self._subject.inputs.shape[1:]
        optimizer = PatchOptimizer(shape, self._subject.box, self._generator)
        optimizer.shrink(self._limit)
        for _ in range(TRIAL):
            with torch.enable_grad():
                lack, _ = self._losses(neuron, optimizer)
                optimizer.step(lack)
            optimizer.shrink(self._limit)
        with torch.no_grad():
            _, loss = self._losses(neuron, optimizer)
        return _Trial(neuron, optimizer, float(loss))

    def _losses(self, neuron: Neuron, optimizer: PatchOptimizer) -> tuple[Tensor, Tensor]:
        """Return two losses, () each, of a batch with the patch.

        Returns:
            The share of the stimulation that the neuron lacks, and the loss towards the target.
        """
        activations: list[Tensor] = []

        def watch(features: Tensor) -> Tensor:
            activations.append(channel_means(features)[:, neuron.channel])
            return features

        inputs = optimizer.patch().put_on(self._subject.batch(self._target, self._generator))
        with edit_features(self._subject.model, neuron.layer, watch):
            logits = self._subject.logits(inputs)
        lack = (1 - activations[0].float() / neuron.value).relu().mean()
        return lack, loss_towards(self._target, logits)


@dataclass(frozen=True)
class _Trial:
    """A search for a patch that excites a neuron.

    Attributes:
        neuron: the neuron.
        optimizer: the optimizer, which holds the patch.
        loss: the loss towards the target with the patch.
    """

    neuron: Neuron
    optimizer: PatchOptimizer
    loss: float
