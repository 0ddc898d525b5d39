"""The features that a classifier's last linear layer is given: what it bases its decision on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..channels import channel_means
from ..predict import logits_of
from ..progress import Progress
from ..record import record_features
from ..samples import Samples, iterate


@dataclass(frozen=True)
class LastLayer:
    """What a model makes of samples at its end.

    Attributes:
        features: what the last layer is given, (N, D) float32.
        logits: what comes out, (N, classes) float32.
    """

    features: Tensor
    logits: Tensor

    @property
    def predicted(self) -> Tensor:
        """The predicted classes, (N,) int64."""
        return self.logits.argmax(1)


def read_last_layer(
    model: nn.Module, samples: Samples, example: Tensor, otherwise: str, progress: Progress
) -> LastLayer:
    """Run a model on samples and keep what its last layer is given.

    That is the input of the linear layer that gives the logits. Where a model has none, as with a
    convolution for a head, it is another layer, each channel averaged over its places.

    Args:
        model: in evaluation mode.
        samples: N of them; each is read once.
        example: one input, (1, *input shape).
        otherwise: name of the layer to read where no linear layer gives the logits.
        progress: advanced by N.

    Raises:
        CalibrationError: the model fails on the samples.
        AttachError: it has no layer of that name.
    """
    head = _find_head(model, example)
    features: list[Tensor] = []
    logits = []
    if head is None:
        kept = record_features(model, [otherwise], lambda _, f: features.append(_as_vectors(f)))
    else:
        kept = _record_input(head, features)
    with kept:
        for part, batch in iterate(samples, range(len(samples))):
            logits.append(logits_of(model, batch))
            progress.advance(len(part))
    return LastLayer(torch.cat(features), torch.cat(logits))


def _as_vectors(features: Tensor) -> Tensor:
    return channel_means(features).float().cpu()


@contextmanager
def _record_input(module: nn.Module, into: list[Tensor]) -> Iterator[None]:
    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        into.append(_as_vectors(args[0].detach()))

    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _find_head(model: nn.Module, example: Tensor) -> nn.Module | None:
    """Return the last linear layer that gives one row of as many values as there are classes."""
    ran: list[tuple[nn.Module, tuple[int, ...]]] = []

    def watch(module: nn.Module, args: Any, output: Tensor) -> None:
        ran.append((module, tuple(output.shape)))

    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    handles = [module.register_forward_hook(watch) for module in linear]
    try:
        shape = tuple(logits_of(model, example).shape)
    finally:
        for handle in handles:
            handle.remove()
    modules = [module for module, _ in ran]
    fitting = [m for m, seen in ran if seen == shape and modules.count(m) == 1]
    return fitting[-1] if fitting else None
