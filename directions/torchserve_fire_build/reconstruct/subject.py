"""The model to search, with the clean inputs that the search uses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.repair.layers import device_of

from ..common.errors import CalibrationError
from ..samples.predict import (
    differentiable_logits,
    gradients_of,
    logits_in_batches,
)
from ..samples.samples import Samples
from .input_box import InputBox, input_box

BATCH = 64
MAX_INPUTS = 500
"""The most clean inputs that are kept in memory to search with."""

MIN_INPUTS = 50


def loss_towards(target: int, logits: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (N, classes) towards a class, in nats."""
    return F.cross_entropy(logits, torch.full((len(logits),), target, device=logits.device))


@dataclass(frozen=True)
class Subject:
    """A model, and clean inputs to try triggers on.

    A search keeps what it changes on the model's device. Only what is drawn at random comes from
    the CPU, so that it is the same on every device.

    Attributes:
        model: in evaluation mode; its parameters get no gradients.
        inputs: clean inputs, (N, *S) float32, on the model's device.
        predicted: the predicted classes of these inputs, (N,) int64, on the CPU.
        classes: number of classes.
        box: the values that inputs may have, on the model's device.
        batch_size: inputs of each step of a search.
    """

    model: nn.Module
    inputs: Tensor
    predicted: Tensor
    classes: int
    box: InputBox
    batch_size: int = BATCH

    @property
    def device(self) -> torch.device:
        """The device of the model and the inputs."""
        return self.inputs.device

    def others(self, target: int) -> Tensor:
        """Return the inputs that are not predicted as the target, (M, *S)."""
        return self.inputs[self.predicted != target]

    def draw(self, target: int, generator: torch.Generator, size: int | None = None) -> Tensor:
        """Draw from `others(target)`; return the indices in `inputs`, (size,) int64, on the CPU.

        The size is `batch_size` if it is not given.
        """
        others = (self.predicted != target).nonzero().flatten()
        count = self.batch_size if size is None else size
        return others[torch.randint(len(others), (count,), generator=generator)]

    def batch(self, target: int, generator: torch.Generator, size: int | None = None) -> Tensor:
        """Draw from `others(target)`; return the inputs, (size, *S)."""
        return self.inputs[self.draw(target, generator, size)]

    def logits(self, inputs: Tensor) -> Tensor:
        """Return the logits of inputs (N, *S), (N, classes) float32, differentiable."""
        return differentiable_logits(self.model, inputs)

    def success(self, inputs: Tensor, target: int) -> float:
        """Return the share of inputs (N, *S) that are predicted as the target; NaN as no class."""
        logits = logits_in_batches(self.model, inputs)
        # The largest of NaN would be class 0.
        led = (logits.argmax(1) == target) & ~logits.isnan().any(1)
        return float(led.float().mean())


def gather_subject(
    model: nn.Module, clean: Samples, description: InputDescription, seed: int
) -> Subject:
    """Draw clean samples to search a model with.

    Args:
        model: in evaluation mode.
        clean: clean samples.
        description: what the model takes.
        seed: of the draw.

    Raises:
        CalibrationError: the samples are too few, are not maps, or are all predicted as one class;
            or the model's logits are NaN, or have no gradients to search along.
    """
    if len(description.shape) != 3:
        raise CalibrationError(
            f"{clean.source}: samples of shape {tuple(description.shape)}: triggers are "
            "reconstructed for maps of (channels, height, width) only"
        )
    if len(clean) < MIN_INPUTS:
        raise CalibrationError(
            f"{clean.source}: {len(clean)} clean samples, expected at least {MIN_INPUTS} to "
            "reconstruct a trigger"
        )
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
    inputs = clean.load(order[:MAX_INPUTS].tolist()).to(device_of(model))
    logits = logits_in_batches(model, inputs)
    if bool(logits.isnan().any()):
        raise CalibrationError(
            f"{clean.source}: the model's logits are NaN for "
            f"{int(logits.isnan().any(1).sum())} of {len(logits)} samples, expected numbers: are "
            "the samples prepared as the model expects, and its weights complete?"
        )
    if len(set(logits.argmax(1).tolist())) == 1:
        raise CalibrationError(
            f"{clean.source}: the model predicts all of these samples as one class"
        )
    _check_gradients(model, inputs[:BATCH])
    return Subject(model, inputs, logits.argmax(1), logits.shape[1], input_box(description, inputs))


def _check_gradients(model: nn.Module, inputs: Tensor) -> None:
    """Refuse a model on which a search would stand still, and find nothing even with a backdoor.

    Raises:
        CalibrationError: no gradients lead to the inputs (N, *S), or all gradients are 0.
    """
    with torch.enable_grad():
        inputs = inputs.clone().requires_grad_()
        logits = differentiable_logits(model, inputs)
        (gradient,) = gradients_of((logits.amax(1) - logits.mean(1)).sum(), [inputs])
    if not bool(gradient.any()):
        raise CalibrationError(
            f"{type(model).__name__}: the gradients of its logits are 0 for all inputs, expected a "
            "model that is differentiable in its input: does it round its inputs?"
        )
