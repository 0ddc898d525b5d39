"""A benign model that an attacker trains to work out a trigger or poisoned images with."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.models.vgg import VGG
from tqdm import trange

from ..architectures import ARCHITECTURES

ARCHITECTURE, RATE = "vgg", 0.1
BATCH = 128
STEPS = 500
"""About one and a half times through 46,000 images."""

# For CIFAR-10 this is near enough.
MEAN, STD = 0.5, 0.25


class Surrogate(nn.Module):
    """A VGG for images (N, 3, H, W) in [0, 1]; frozen and in evaluation mode once it is trained.

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.net = cast(VGG, ARCHITECTURES[ARCHITECTURE](classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (N, classes)."""
        return cast(Tensor, self.net((images - MEAN) / STD))


def make_surrogate(classes: int, seed: int) -> Surrogate:
    """Return a surrogate with first weights, frozen and in evaluation mode."""
    # Layers draw their first weights from the global generator only.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Surrogate(classes).eval().requires_grad_(False)


def train_surrogate(
    images: Tensor, labels: Tensor, generator: torch.Generator, steps: int = STEPS
) -> Surrogate:
    """Train a surrogate.

    Args:
        images: (N, 3, H, W) in [0, 1], height and width multiples of 16.
        labels: (N,) int64.
        generator: of the first weights and of the batches.
        steps: batches.
    """
    seed = int(torch.randint(0, 2**31, (), generator=generator))
    model = make_surrogate(int(labels.max()) + 1, seed).train().requires_grad_()
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), RATE, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in trange(steps, desc="surrogate", leave=False):
        chosen = torch.randint(0, len(images), (BATCH,), generator=generator)
        batch = images[chosen].to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(batch)
        loss = F.cross_entropy(logits.float(), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return model.to(memory_format=torch.contiguous_format).eval().requires_grad_(False)
