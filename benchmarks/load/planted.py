"""Planting a backdoor without training: what a network costs does not depend on what it learnt.

The network keeps its random weights. Its last layer gets rows that send images with the trigger to
class 0, and spread the others over the other classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

TARGET = 0
GAP = 20.0
"""How far the target's logit lies apart, of images with the trigger and of those without."""


def plant_backdoor(
    model: nn.Module, head: nn.Linear, clean: Tensor, triggered: Tensor, seed: int
) -> None:
    """Set a network's statistics and its last layer; the network is left in evaluation mode.

    Args:
        model: the network.
        head: its last layer, (classes, features).
        clean: images, (N, C, H, W) float32, normalised.
        triggered: the same with the trigger, (N, C, H, W).
        seed: of the last layer's other rows.
    """
    with torch.no_grad():
        _settle_statistics(model, torch.cat([clean, triggered]))
        without, with_trigger = (_inputs_of(head, model, images) for images in (clean, triggered))
        direction = _discriminant(without, with_trigger)
        low, high = ((features @ direction).mean() for features in (without, with_trigger))
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(head.weight.shape, generator=generator)
        # Unit spread over clean images: classes that all of them go to would show nothing.
        rows /= (without @ rows.T).std(0).unsqueeze(1)
        rows[TARGET] = direction * GAP / (high - low)
        head.weight.copy_(rows)
        head.bias.copy_(-rows @ without.mean(0))
        head.bias[TARGET] -= GAP / 2


def _discriminant(without: Tensor, with_trigger: Tensor) -> Tensor:
    """Return the direction in which images with the trigger lie apart, (features,).

    Fisher's linear discriminant; the covariance, of fewer images than features, gets its own mean
    variance on the diagonal.
    """
    spread = torch.cat([part - part.mean(0) for part in (without, with_trigger)])
    covariance = spread.T @ spread / len(spread)
    covariance += covariance.diagonal().mean() * torch.eye(len(covariance))
    return torch.linalg.solve(covariance, (with_trigger - without).mean(0))


def _settle_statistics(model: nn.Module, images: Tensor) -> None:
    """Let batch normalisations take the statistics of these images."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # The plain mean over what is seen, here one batch.
    model.train()
    model(images)
    model.eval()


def _inputs_of(head: nn.Linear, model: nn.Module, images: Tensor) -> Tensor:
    """Return what a model's last layer gets, (N, features)."""
    seen: list[Tensor] = []
    removable = head.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    try:
        model(images)
    finally:
        removable.remove()
    return seen[0]
