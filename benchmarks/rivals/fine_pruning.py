"""Fine-Pruning (Liu et al., RAID 2018, arXiv 1805.12185)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from benchmarks.measure import predict, share
from benchmarks.victims.data import Images
from benchmarks.victims.train import fit_model

from .fine_tuning import SCHEDULE
from .rival import Defence, Granted, RivalNotApplicable, answer_with

ACCURACY_LOSS = 0.1
"""Share of its clean accuracy that pruning may cost, before fine-tuning: BackdoorBench's bound."""


def fine_pruning(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Prune the last layer's channels that are dormant on clean images, then fine-tune.

    Channels are pruned as BackdoorBench prunes them: at the input of the last linear layer, which
    for convolutional nets is the last convolution's channels, pooled. They go one after another,
    by their mean absolute value on one half of the clean images, as long as the accuracy on the
    other half keeps nine tenths of what it was. The fine-tuning leaves them pruned.

    Raises:
        RivalNotApplicable: the model does not end in a linear layer.
    """
    pruned = copy.deepcopy(model)
    head = _last_linear(pruned, granted.classes)
    half = len(granted.pool) // 2
    activity, _ = _inputs_of(pruned, head, granted.pool.at(torch.arange(half)))
    held_out = granted.pool.at(torch.arange(half, len(granted.pool)))
    order = activity.abs().mean(0).argsort()
    mask = _prune(head, *_inputs_of(pruned, head, held_out), order)
    prune.custom_from_mask(head, "weight", mask)  # type: ignore[no-untyped-call]
    fit_model(pruned, granted.pool, SCHEDULE, generator, "fine-pruning")
    prune.remove(head, "weight")  # type: ignore[no-untyped-call]
    return answer_with(pruned)


def _last_linear(model: nn.Module, classes: int) -> nn.Linear:
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1].out_features != classes:
        raise RivalNotApplicable("the model does not end in a linear layer")
    return linear[-1]


def _inputs_of(model: nn.Module, head: nn.Linear, images: Images) -> tuple[Tensor, Tensor]:
    """Return what the last layer is given for the images, (N, channels), and their labels."""
    parts: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda module, args: parts.append(args[0]))
    try:
        predict(model, images)
    finally:
        handle.remove()
    return torch.cat(parts), images.labels


def _prune(head: nn.Linear, inputs: Tensor, labels: Tensor, order: Tensor) -> Tensor:
    """Return the mask, of the head's weight, of as many channels as the accuracy allows.

    Args:
        head: the last layer.
        inputs: of the head, for images that the order was not found on, (N, channels).
        labels: of these images, (N,) int64.
        order: in which the channels go, (channels,) int64.
    """
    keep = torch.ones_like(head.weight[0])

    def accuracy() -> float:
        with torch.no_grad():
            return share(head(inputs * keep).argmax(1) == labels)

    least = (1 - ACCURACY_LOSS) * accuracy()
    for channel in order:
        keep[channel] = 0
        if accuracy() < least:
            keep[channel] = 1
            break
    return keep.expand_as(head.weight).clone()
