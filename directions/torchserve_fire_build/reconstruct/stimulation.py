"""Which neurons lead to a class by themselves: each neuron is stimulated on several inputs."""

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
"""Number of clean inputs whose features are stimulated."""

MULTIPLES = (1.0, 2.0, 4.0)
"""Values to stimulate with, as multiples of the highest absolute channel mean on these inputs."""

TOGETHER = 16
"""Number of channels that are stimulated in one pass."""


@dataclass(frozen=True)
class Neuron:
    """A channel of a layer, and how it affects a class.

    Attributes:
        layer: a module name.
        channel: index of the channel.
        value: the stimulation that elevates the class most.
        elevation: how much more the class's logit then rises than every other logit, on the input
            where this is least.
    """

    layer: str
    channel: int
    value: float
    elevation: float


def rank_neurons(subject: Subject, layer: str, target: int) -> list[Neuron]:
    """Stimulate each channel of a layer by itself; return those that elevate the class most first.

    It costs three passes for every sixteen channels. A pass runs one input up to the layer, and
    128 from there on. If the number of features must equal the number of inputs, it costs three
    passes of eight inputs for every channel instead.
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
                    _elevation(_stimulate(subject, layer, seen, part, value) - logits, target)
                    for part in torch.split(channels, TOGETHER)
                ]
            )
            for value in values
        ]
    ).cpu()
    highest, chosen = elevation.max(0)
    return [
        Neuron(layer, channel, values[int(chosen[channel])], float(highest[channel]))
        for channel in highest.argsort(descending=True, stable=True).tolist()
    ]


def _observe(subject: Subject, layer: str, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return a layer's features of inputs (N, *S), and their logits."""
    seen: list[Tensor] = []

    def keep(features: Tensor) -> Tensor:
        # A copy, since a later layer may work in place.
        seen.append(features.clone())
        return features

    with torch.no_grad(), edit_features(subject.model, layer, keep):
        logits = subject.logits(inputs)
    return seen[0], logits


def _stimulate(
    subject: Subject, layer: str, seen: tuple[Tensor, Tensor], channels: Tensor, value: float
) -> Tensor:
    """Return the logits with each of the channels, one at a time, set to a value everywhere.

    Args:
        subject: the model.
        layer: a module name.
        seen: inputs, (N, *S), and the layer's features for them.
        channels: the channels, (n,) int64.
        value: the value to set a channel to.

    Returns:
        (n, N, classes).
    """
    inputs, features = seen
    together = torch.cat([_set(features, channel, value) for channel in channels])
    with torch.no_grad():
        # What the layers before compute does not matter. They get one input, to save time.
        with suppress(FireError), edit_features(subject.model, layer, lambda _: together):
            logits = subject.logits(subject.inputs[:1])
            if len(logits) == len(together):
                return logits.view(len(channels), len(inputs), -1)
        # This fails if the model counts its inputs, or has corrections (flagged inputs run twice).
        alone = []
        for channel in channels:
            with edit_features(subject.model, layer, partial(_set, channel=channel, value=value)):
                alone.append(subject.logits(inputs))
    return torch.stack(alone)


def _set(features: Tensor, channel: Tensor, value: float) -> Tensor:
    """Return features (N, *S) with one channel, (), set to a value everywhere."""
    count = channel_means(features[:1]).shape[1]
    chosen = (channel == torch.arange(count)).to(features.device)
    return torch.where(spread_over(chosen, tuple(features.shape[1:])), value, features)


def _elevation(rises: Tensor, target: int) -> Tensor:
    """Return how much more the target's logit rises than every other logit.

    Args:
        rises: how much each logit rises, (n, N, classes).
        target: the class.

    Returns:
        The least value among the N inputs, (n,).
    """
    others = rises.clone()
    others[..., target] = -torch.inf
    least: Tensor = (rises[..., target] - others.amax(-1)).amin(1)
    return least
