"""Training of the demos' classifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..common.progress import Progress
from .digit_net import DigitNet
from .digits import Digits

M = TypeVar("M", bound=nn.Module)

EPOCHS = 8
BATCH_SIZE = 64
LEARNING_RATE = 3e-3
MEAN, STD = 0.3, 0.35


def train(digits: Digits, seed: int, epochs: int = EPOCHS) -> DigitNet:
    """Train the classifier of digits; see `fit`."""
    return fit(DigitNet, to_inputs(digits), torch.from_numpy(digits.labels), seed, epochs)


def fit(make: Callable[[], M], inputs: Tensor, labels: Tensor, seed: int, epochs: int) -> M:
    """Train from scratch; the same seed gives the same weights on the same machine.

    Args:
        make: makes the network, with weights from torch's global random numbers.
        inputs: what it takes, (N, *S) float32.
        labels: the classes, (N,) int64.
        seed: of the weights and of the order.
        epochs: over the samples.

    Returns:
        The network, in evaluation mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make()
    order = torch.Generator().manual_seed(seed)
    steps = epochs * -(-len(labels) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    with one_thread(), Progress("training", steps) as progress:
        for _ in range(epochs):
            shuffled = torch.randperm(len(labels), generator=order)
            for start in range(0, len(labels), BATCH_SIZE):
                batch = shuffled[start : start + BATCH_SIZE]
                loss = functional.cross_entropy(model(inputs[batch]), labels[batch])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
                progress.advance()
    return model.eval()


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch in one thread: for so small a network, several mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def to_inputs(digits: Digits) -> Tensor:
    """Return the network's input, float32 (N, 1, 32, 32), normalised as the server does it."""
    pixels = torch.from_numpy(digits.images).unsqueeze(1).float().div(255)
    return (pixels - MEAN) / STD
