"""The training loop of all methods that train: SGD with momentum on labelled clean samples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchserve_fire.errors import ModelError, first_line
from torchserve_fire.repair.layers import device_of
from torchserve_fire.repair.logits import find_logits

from ..common.errors import SanitizeError
from ..common.progress import Progress
from .defaults import EPOCHS, RATE
from .labelled_samples import LabelledSamples

BATCH = 128
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""Returns inputs (N, *input shape), changed at random such that they keep their classes."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: number of epochs over the samples.
        rate: peak of the learning rate, which rises and falls in one cycle.
        budget: time limit, in seconds.
    """

    epochs: int = EPOCHS
    rate: float = RATE
    budget: float = math.inf


def unchanged(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Return the inputs unchanged: whether they may be flipped or cropped depends on the task."""
    return inputs


def train(
    model: nn.Module,
    clean: LabelledSamples,
    schedule: Schedule,
    generator: torch.Generator,
    *,
    augment: Augment = unchanged,
    title: str = "training",
) -> float:
    """Train all weights of a model on clean samples; where it is, and leave it in evaluation mode.

    The cycle of the learning rate (Smith and Topin, arXiv 1708.07120) advances with the steps, or
    with the clock if the steps would outlast the budget. So the rate is low when the time is over,
    and the last weights, which have forgotten most, are the best ones. Clean accuracy would not
    show which weights are best: it is highest before the backdoor is touched.

    Args:
        model: the model; it is changed.
        clean: the samples to train on; in each epoch, those that do not fill a batch are left out.
        schedule: how long and how fast to train.
        generator: draws the order and the augmentation; its seed is also that of layers such as
            dropout.
        augment: called with each batch.
        title: title of the progress bar.

    Returns:
        The number of epochs trained; fewer than asked for if the time was over.

    Raises:
        SanitizeError: the model fails in training, none of its weights can be trained, or the
            training diverges.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise SanitizeError(
            f"{type(model).__name__}: no parameter has requires_grad, expected some to train"
        )
    device = device_of(model)
    model.train()
    size = min(BATCH, len(clean))
    per_epoch = len(clean) // size
    total = schedule.epochs * per_epoch
    optimizer = torch.optim.SGD(
        model.parameters(),
        schedule.rate,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        nesterov=True,
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.rate, total_steps=total)
    start, steps, position = time.monotonic(), 0, 0
    # Layers draw only from the global generator.
    with torch.random.fork_rng(), Progress(title, total) as progress:
        torch.manual_seed(generator.initial_seed())
        for indices in _batches(len(clean), size, generator):
            inputs, labels = clean.load(indices)
            loss = _loss(model, augment(inputs, generator).to(device), labels.to(device))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            steps += 1
            by_clock = math.floor(total * (time.monotonic() - start) / schedule.budget)
            ahead = min(max(position + 1, by_clock), total) - position
            for _ in range(ahead):
                scheduler.step()
            position += ahead
            progress.advance(ahead)
            if position == total:
                break
    model.eval()
    return steps / per_epoch


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield indices of random batches, (size,) int64, endlessly."""
    while True:
        order = torch.randperm(count, generator=generator)
        yield from torch.split(order[: count // size * size], size)


def _loss(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    try:
        output = model(inputs)
    except Exception as error:  # A model that was not made to be trained may raise anything.
        reason = first_line(error)
        raise SanitizeError(
            f"{type(model).__name__}: fails in training mode on {len(inputs)} inputs of shape "
            f"{tuple(inputs.shape[1:])}: {reason}"
        ) from error
    try:
        logits = find_logits(output, len(inputs))
    except ModelError as error:
        raise SanitizeError(f"{type(model).__name__}: in training mode {error}") from None
    if logits.grad_fn is None:
        raise SanitizeError(
            f"{type(model).__name__}: expected in training mode logits with gradients"
        )
    loss = functional.cross_entropy(logits.float(), labels)
    if not bool(loss.isfinite()):
        raise SanitizeError(
            f"{type(model).__name__}: the training diverges (loss {loss.item()}): expected a lower "
            "--rate to keep it finite"
        )
    return loss
