"""How often reconstructed triggers still lead to their target after a repair."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from torchserve_fire.format.bundle import Bundle
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.repair.layers import device_of

from ..samples.predict import predicted_classes
from .reconstruction import Reconstruction


def success_rates(
    model: nn.Module, triggers: Sequence[Reconstruction], inputs: Tensor, classes: Tensor
) -> list[float]:
    """Return the share of clean inputs that each trigger leads to its target.

    Args:
        model: in evaluation mode.
        triggers: reconstructed triggers.
        inputs: clean inputs, (N, *input shape) float32.
        classes: the classes of the inputs, (N,) int64. Inputs of the target do not count; if no
            others are left, the share is 0.
    """
    shares = []
    for trigger in triggers:
        others = inputs[classes != trigger.target]
        if len(others) == 0:
            shares.append(0.0)
            continue
        led = predicted_classes(model, trigger.stamp(others)) == trigger.target
        shares.append(float(led.float().mean()))
    return shares


def success_after_repair(
    model: nn.Module, bundle: Bundle, triggers: Sequence[Reconstruction], inputs: Tensor
) -> list[float]:
    """Return the share of clean inputs that each trigger leads to its target despite a bundle.

    A trigger still leads if it is not detected, or if it is detected but not undone.

    Args:
        model: in evaluation mode, unrepaired.
        bundle: the bundle that repairs the model.
        triggers: reconstructed triggers.
        inputs: clean inputs, (N, *input shape) float32. Inputs that the unrepaired model predicts
            as the target without the trigger do not count.
    """
    predicted = predicted_classes(model, inputs)
    example = inputs[:1].to(device_of(model))
    with attach_layers(model, bundle.layers, example, target=bundle.target):
        return success_rates(model, triggers, inputs, predicted)
