"""What a repair leaves of a trigger that it was not built from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from handler.attach import attach
from handler.bundle import Bundle

from ..predict import device_of, logits_of
from .reconstruction import Reconstruction

BATCH = 64


def share_still_led(
    model: nn.Module, bundle: Bundle, trigger: Reconstruction, inputs: Tensor
) -> float:
    """Return the share of clean inputs that a trigger leads to its target in spite of a bundle.

    Whether the trigger is not told or not undone, it still leads.

    Args:
        model: in evaluation mode, unrepaired.
        bundle: what is to repair it.
        trigger: a reconstructed one.
        inputs: clean, (N, *input shape) float32; those that are predicted as the target without it
            do not count, and of none, none is led.
    """
    parts = torch.split(inputs, BATCH)
    predicted = torch.cat([logits_of(model, part).argmax(1) for part in parts])
    others = inputs[predicted != trigger.target]
    if len(others) == 0:
        return 0.0
    example = inputs[:1].to(device_of(model))
    with attach(model, bundle.layers, example, target=bundle.target):
        stamped = (trigger.stamp(part) for part in torch.split(others, BATCH))
        led = torch.cat([logits_of(model, part).argmax(1) == trigger.target for part in stamped])
    return float(led.float().mean())
