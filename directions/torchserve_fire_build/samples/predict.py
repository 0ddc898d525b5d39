"""Running a model on samples: its logits, its predictions and their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from torchserve_fire.errors import FireError, ModelError, first_line
from torchserve_fire.repair.layers import device_of
from torchserve_fire.repair.logits import find_logits

from ..common.errors import CalibrationError
from ..common.progress import Progress
from .fitting_batches import fitting_batches
from .samples import Samples, bytes_of


@contextmanager
def reporting_failures(model: nn.Module, inputs: Tensor) -> Iterator[None]:
    """Report an exception that a model raises on inputs (N, ...) in one line.

    Raises:
        CalibrationError: the model raised; the message holds the first line of its exception.
    """
    try:
        yield
    except FireError:
        raise
    except Exception as error:  # Whatever a model raises on inputs that it was not made for.
        raise CalibrationError(
            f"{type(model).__name__}: fails on inputs of shape {tuple(inputs.shape[1:])}: "
            f"{first_line(error)}"
        ) from error


def logits_of(model: nn.Module, inputs: Tensor, copies: int = 1) -> Tensor:
    """Run the model on inputs (N, ...) and return its logits, (N, classes) float32, on the CPU.

    Args:
        model: in evaluation mode.
        inputs: (N, *input shape).
        copies: rows of logits to expect for each input; more than 1 if a hook repeats the batch.

    Raises:
        CalibrationError: the model fails on these inputs, or its output is not `copies` rows of
            logits for each input.
    """
    with reporting_failures(model, inputs), torch.no_grad():
        output = model(inputs.to(device_of(model)))
    logits = _find_logits(model, output, copies * len(inputs))
    if logits.shape[1] < 2:
        raise CalibrationError(
            f"{type(model).__name__}: its logits are {tuple(logits.shape)}, expected two classes "
            "or more"
        )
    return logits.float().cpu()


def _find_logits(model: nn.Module, output: Any, rows: int | None) -> Tensor:
    try:
        return find_logits(output, rows)
    except ModelError as error:
        mode = " in training mode" if model.training else ""
        raise CalibrationError(f"{type(model).__name__}{mode}: {error}") from None


def logits_in_batches(model: nn.Module, inputs: Tensor) -> Tensor:
    """Do as `logits_of` for any number of inputs."""
    if len(inputs) == 0:
        return logits_of(model, inputs)
    batches = fitting_batches(
        model,
        range(len(inputs)),
        lambda part: logits_of(model, inputs[part[0] : part[-1] + 1]),
        input_bytes=inputs[:1].nbytes,
    )
    return torch.cat([logits for _, logits in batches])


def predicted_classes(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the predicted class of each of the inputs (N, ...), (N,) int64."""
    return logits_in_batches(model, inputs).argmax(1)


def differentiable_logits(
    model: nn.Module, inputs: Tensor, state: Mapping[str, Tensor] | None = None
) -> Tensor:
    """Run the model on inputs (N, ...) and return its logits, (N, classes) float32, on its device.

    The logits are differentiable in the inputs and in the parameters that require gradients, if
    gradients are enabled.

    Args:
        model: in training or in evaluation mode.
        inputs: (N, *input shape).
        state: parameters and buffers by name, in place of the model's own.

    Raises:
        CalibrationError: the model fails on these inputs, or returns no logits.
    """
    with reporting_failures(model, inputs):
        moved = inputs.to(device_of(model))
        output = model(moved) if state is None else functional_call(model, dict(state), (moved,))
    return _find_logits(model, output, None).float()


def gradients_of(
    loss: Tensor, sources: Sequence[Tensor], *, keep_graph: bool = False, unused_are_0: bool = False
) -> tuple[Tensor, ...]:
    """Return the gradients of a loss that was computed from a model's logits.

    Args:
        loss: (), from `differentiable_logits`.
        sources: tensors that the model's inputs were computed from.
        keep_graph: whether the graph is needed for further gradients.
        unused_are_0: whether sources that the loss does not depend on have gradients of 0.

    Raises:
        CalibrationError: the gradients cannot be computed, for example because the model lets none
            through.
    """
    try:
        return torch.autograd.grad(
            loss, sources, retain_graph=keep_graph, materialize_grads=unused_are_0
        )
    except RuntimeError as error:
        raise CalibrationError(
            "the gradients of the model's logits cannot be computed, expected a model that is "
            f"differentiable in its input: {first_line(error)}"
        ) from error


def predict_logits(
    model: nn.Module, samples: Samples, indices: Sequence[int], progress: Progress
) -> Tensor:
    """Return the logits of the samples at `indices`, (len(indices), classes) float32."""
    logits = []
    for part, found in fitting_batches(
        model,
        indices,
        lambda part: logits_of(model, samples.load(part)),
        input_bytes=bytes_of(samples.description),
    ):
        logits.append(found)
        progress.advance(len(part))
    return torch.cat(logits)
