"""Which neurons lead to a class by themselves: each is stimulated, whatever the input shows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..channels import channel_means, spread_over
from ..edited_layer import edited
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
    channels, each of one input to the layer and of 128 from there on.
    """
    features, logits = _observe(subject, layer, subject.others(target)[:INPUTS])
    means = channel_means(features)
    values = [float(means.abs().max()) * multiple for multiple in MULTIPLES]
    channels = torch.arange(means.shape[1])
    elevation = torch.stack(
        [
            torch.cat(
                [
                    _elevation(_stimulate(subject, layer, features, some, value) - logits, target)
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

    with torch.no_grad(), edited(subject.model, layer, keep):
        logits = subject.logits(inputs)
    return seen[0], logits


def _stimulate(
    subject: Subject, layer: str, features: Tensor, channels: Tensor, value: float
) -> Tensor:
    """Return the logits with each of some channels set to a value everywhere.

    Args:
        subject: the model.
        layer: a module name.
        features: of the layer, (N, *S).
        channels: which, (n,) int64.
        value: what to set them to.

    Returns:
        (n, N, classes).
    """
    shape = tuple(features.shape[1:])
    count = channel_means(features[:1]).shape[1]
    chosen = (channels[:, None] == torch.arange(count)).to(features.device)
    stimulated = torch.cat(
        [torch.where(spread_over(one, shape), value, features) for one in chosen]
    )
    # What comes before the layer is of no account: it sees one input, to cost little.
    with torch.no_grad(), edited(subject.model, layer, lambda _: stimulated):
        logits = subject.logits(subject.inputs[:1])
    return logits.view(len(channels), len(features), -1)


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
