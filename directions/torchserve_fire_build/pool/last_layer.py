"""The features that a classifier's last linear layer is given: what it bases its decision on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.hooks import record_features, record_inputs, record_linear_layers
from ..common.progress import Progress
from ..estimate.channels import channel_means
from ..samples.predict import logits_of
from ..samples.samples import Samples, iterate


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
        kept = record_inputs(head, lambda f: features.append(_as_vectors(f)))
    with kept:
        for part, batch in iterate(samples, range(len(samples))):
            logits.append(logits_of(model, batch))
            progress.advance(len(part))
    return LastLayer(torch.cat(features), torch.cat(logits))


def _as_vectors(features: Tensor) -> Tensor:
    return channel_means(features).float().cpu()


def _find_head(model: nn.Module, example: Tensor) -> nn.Linear | None:
    """Return the last linear layer that gives one row of as many values as there are classes."""
    with record_linear_layers(model) as ran:
        shape = logits_of(model, example).shape
    modules = [module for module, _ in ran]
    fitting = [m for m, seen in ran if seen == shape and modules.count(m) == 1]
    return fitting[-1] if fitting else None
