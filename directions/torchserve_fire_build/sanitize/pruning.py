"""The pruning half of Fine-Pruning (Liu et al., RAID 2018, arXiv 1805.12185).

A backdoor may use channels of its own, which are dormant on clean inputs: without these channels,
the backdoor is gone. If the trigger uses the same channels as clean inputs, pruning does not help.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchserve_fire.repair.layers import device_of

from ..common.errors import SanitizeError
from ..common.hooks import record_inputs, record_linear_layers
from ..samples.fitting_batches import fitting_batches
from ..samples.predict import logits_of
from ..samples.samples import Samples
from .defaults import ACCURACY_LOSS
from .labelled_samples import LabelledSamples

logger = logging.getLogger(__name__)


def prune(
    model: nn.Module,
    clean: LabelledSamples,
    generator: torch.Generator,
    *,
    accuracy_loss: float = ACCURACY_LOSS,
) -> nn.Module:
    """Prune the channels before the last linear layer that are dormant on clean samples.

    It needs labelled clean samples, and no triggered samples. It costs one forward pass over them.

    Args:
        model: in evaluation mode; it is not changed.
        clean: one half shows which channels are dormant, the other how many may be pruned.
        generator: draws the halves.
        accuracy_loss: share of the clean accuracy that pruning may lose.

    Returns:
        A copy in which the last linear layer's weights for the pruned channels are 0.

    Raises:
        SanitizeError: the model does not end in a linear layer, or there are too few samples.
    """
    pruned = copy.deepcopy(model)
    head = find_head(pruned, clean.samples)
    keep = channels_to_keep(pruned, head, clean, generator, accuracy_loss=accuracy_loss)
    with torch.no_grad():
        head.weight[:, ~keep] = 0
    return pruned


def channels_to_keep(
    model: nn.Module,
    head: nn.Linear,
    clean: LabelledSamples,
    generator: torch.Generator,
    *,
    accuracy_loss: float,
) -> Tensor:
    """Return which channels to keep, (channels,) bool.

    Channels are pruned as in BackdoorBench: at the input of the last linear layer. In convolutional
    nets, these are the pooled channels of the last convolution. The channel with the least mean
    absolute value on one half of the samples goes first, then the next, and so on, as long as the
    accuracy on the other half does not lose more than allowed.

    Args:
        model: in evaluation mode.
        head: the last linear layer of the model.
        clean: the samples.
        generator: draws the halves.
        accuracy_loss: share of the accuracy that may be lost.

    Raises:
        SanitizeError: there are too few samples, or the head gets more than one row for each.
    """
    if len(clean) < 2:
        raise SanitizeError(
            f"{clean.samples.source}: {len(clean)} sample, expected at least one to choose "
            "channels with and another to measure with"
        )
    seen, held_out = clean.halves(generator)
    order = inputs_of(model, head, seen.samples).abs().mean(0).argsort()
    inputs = inputs_of(model, head, held_out.samples)
    found = bounded_pruning(head, inputs, held_out.labels, order, accuracy_loss)
    logger.info(
        f"pruned: {int((~found.keep).sum())} of {len(order)} channels; accuracy on "
        f"{len(held_out)} held-out clean samples {found.before:.2%}, then {found.after:.2%}"
    )
    return found.keep


def find_head(model: nn.Module, samples: Samples) -> nn.Linear:
    """Return the linear layer that ends the model: it runs last, and has an output for each class.

    Raises:
        SanitizeError: there is no such layer.
    """
    with record_linear_layers(model) as ran:
        classes = logits_of(model, samples.load([0])).shape[1]
    head = ran[-1][0] if ran else None
    if head is None or head.out_features != classes:
        raise SanitizeError(
            f"{type(model).__name__}: does not end in a linear layer, expected one with {classes} "
            "outputs, whose inputs are pruned"
        )
    return head


@dataclass(frozen=True)
class Pruning:
    """Which channels are pruned, and the accuracy that this costs.

    Attributes:
        keep: the channels that are kept, (channels,) bool.
        before: accuracy with all channels.
        after: accuracy with the kept channels.
    """

    keep: Tensor
    before: float
    after: float


def bounded_pruning(
    head: nn.Linear, inputs: Tensor, labels: Tensor, order: Tensor, accuracy_loss: float
) -> Pruning:
    """Prune as many channels as the accuracy allows.

    Args:
        head: the last layer.
        inputs: inputs of the head, (N, channels), for samples that the order was not found on.
        labels: labels of these samples, (N,) int64.
        order: the channels in the order in which they are pruned, (channels,) int64.
        accuracy_loss: share of the accuracy that may be lost.
    """
    keep = torch.ones(len(order), dtype=torch.bool)

    @torch.no_grad()
    def accuracy() -> float:
        predicted = head((inputs * keep).to(device_of(head))).argmax(1).cpu()
        return float((predicted == labels).double().mean())

    before = after = accuracy()
    for channel in order:
        keep[channel] = False
        remaining = accuracy()
        if remaining < (1 - accuracy_loss) * before:
            keep[channel] = True
            break
        after = remaining
    return Pruning(keep, before, after)


def inputs_of(model: nn.Module, head: nn.Linear, samples: Samples) -> Tensor:
    """Return the inputs of the last layer for the samples, (N, channels).

    Raises:
        SanitizeError: the layer gets more than one row for each sample.
    """

    def run(part: Sequence[int]) -> Tensor:
        seen: list[Tensor] = []
        with record_inputs(head, lambda x: seen.append(x.float().cpu())):
            logits_of(model, samples.load(part))
        return torch.cat(seen)

    inputs = torch.cat([seen for _, seen in fitting_batches(model, range(len(samples)), run)])
    if inputs.shape != (len(samples), head.in_features):
        raise SanitizeError(
            f"{type(model).__name__}: its last linear layer takes inputs of shape "
            f"{tuple(inputs.shape[1:])} for each sample, expected ({head.in_features},)"
        )
    return inputs
