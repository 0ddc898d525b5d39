"""Which neurons lead to a class by themselves: each is stimulated, whatever the input shows."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from torchserve_fire.errors import FireError

from ..common.hooks import edit_features
from ..estimate.channels import channel_means, spread_over
from .subject import Subject

INPUTS = 8
"""Clean inputs whose features are stimulated."""

MULTIPLES = (1.0, 2.0, 4.0)
"""Of the highest mean that any channel of the layer has on these."""

TOGETHER = 16
"""Channels that are stimulated in one pass."""


@dataclass(frozen=True)
class Neuron:
    """A channel of a layer, and what it does to a class.

    Attributes:
        layer: a module name.
        channel: its place in the layer's features.
        value: the stimulation that elevates the class most.
        elevation: by how much the class's logit then rises above the rise of every other, on the
            input where that is least.
    """

    layer: str
    channel: int
    value: float
    elevation: float


def rank_neurons(subject: Subject, layer: str, target: int) -> list[Neuron]:
    """Stimulate each channel of a layer by itself, and order them by what that does to a class.

    The one that elevates the class most is the first. Costs three passes for every sixteen
    channels, each of one input to the layer and of 128 from there on; or of eight inputs for every
    channel, where the model takes no other number of features than of inputs.
    """
    inputs = subject.others(target)[:INPUTS]
    features, logits = _observe(subject, layer, inputs)
    seen = (inputs, features)
    means = channel_means(features)
    values = [float(means.abs().max()) * multiple for multiple in MULTIPLES]
    channels = torch.arange(means.shape[1])
    elevation = torch.stack(
        [
            torch.cat(
                [
                    _elevation(_stimulate(subject, layer, seen, some, value) - logits, target)
                    for some in torch.split(channels, TOGETHER)
                ]
            )
            for value in values
        ]
    )
    highest, chosen = elevation.max(0)
    return [
        Neuron(layer, channel, values[int(chosen[channel])], float(highest[channel]))
        for channel in highest.argsort(descending=True, stable=True).tolist()
    ]


def _observe(subject: Subject, layer: str, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return a layer's features of inputs (N, *S), and their logits."""
    seen: list[Tensor] = []

    def keep(features: Tensor) -> Tensor:
        # A copy, as a later layer may work in place.
        seen.append(features.clone())
        return features

    with torch.no_grad(), edit_features(subject.model, layer, keep):
        logits = subject.logits(inputs)
    return seen[0], logits


def _stimulate(
    subject: Subject, layer: str, seen: tuple[Tensor, Tensor], channels: Tensor, value: float
) -> Tensor:
    """Return the logits with each of some channels set to a value everywhere.

    Args:
        subject: the model.
        layer: a module name.
        seen: inputs, (N, *S), and the layer's features of them.
        channels: which, (n,) int64.
        value: what to set them to.

    Returns:
        (n, N, classes).
    """
    inputs, features = seen
    together = torch.cat([_set(features, channel, value) for channel in channels])
    with torch.no_grad():
        # What comes before the layer is of no account: it sees one input, to cost little.
        with suppress(FireError), edit_features(subject.model, layer, lambda _: together):
            logits = subject.logits(subject.inputs[:1])
            if len(logits) == len(together):
                return logits.view(len(channels), len(inputs), -1)
        # The model counts its inputs, or has corrections, which run what they flag once more.
        alone = []
        for channel in channels:
            with edit_features(subject.model, layer, partial(_set, channel=channel, value=value)):
                alone.append(subject.logits(inputs))
    return torch.stack(alone)


def _set(features: Tensor, channel: Tensor, value: float) -> Tensor:
    """Return features (N, *S) with a channel, (), set to a value everywhere."""
    count = channel_means(features[:1]).shape[1]
    chosen = (channel == torch.arange(count)).to(features.device)
    return torch.where(spread_over(chosen, tuple(features.shape[1:])), value, features)


def _elevation(rises: Tensor, target: int) -> Tensor:
    """Return by how much the target's logit rises above the rise of every other.

    Args:
        rises: of the logits, (n, N, classes).
        target: the class.

    Returns:
        The least of the N inputs, (n,).
    """
    others = rises.clone()
    others[..., target] = -torch.inf
    least: Tensor = (rises[..., target] - others.amax(-1)).amin(1)
    return least
