"""The input of a classifier's last linear layer: the features that its decision is based on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.hooks import record_features, record_inputs, record_linear_layers
from ..common.progress import Progress
from ..common.row_file import RowFile
from ..estimate.channels import channel_means
from ..samples.fitting_batches import fitting_batches
from ..samples.predict import logits_of
from ..samples.samples import Samples


@dataclass(frozen=True)
class LastLayer:
    """The input and the output of a model's last layer.

    Attributes:
        features: the input of the last layer, (N, D) float32, in a file.
        logits: the output of the model, (N, classes) float32.
    """

    features: RowFile
    logits: Tensor

    @property
    def predicted(self) -> Tensor:
        """The predicted classes, (N,) int64."""
        return self.logits.argmax(1)


def read_last_layer(
    model: nn.Module, samples: Samples, example: Tensor, otherwise: str, progress: Progress
) -> LastLayer:
    """Run a model on samples and keep the input of its last layer.

    This is the input of the linear layer that returns the logits. If a model has no such layer, for
    example because it ends in a convolution, the features of another layer are kept instead, each
    channel averaged over its places.

    Args:
        model: in evaluation mode.
        samples: N samples; each is read once.
        example: one input, (1, *input shape).
        otherwise: name of the layer to read if no linear layer returns the logits.
        progress: advanced by N.

    Raises:
        CalibrationError: the model fails on the samples.
        AttachError: the model has no layer of that name.
    """
    features, logits = RowFile(), []
    done = 0
    for seen, predicted in read_rows(model, samples, range(len(samples)), example, otherwise):
        features.write(done, seen)
        logits.append(predicted)
        done += len(predicted)
        progress.advance(len(predicted))
    return LastLayer(features, torch.cat(logits))


def read_rows(
    model: nn.Module, samples: Samples, rows: Sequence[int], example: Tensor, otherwise: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the input of the last layer, (n, D), and the logits, (n, classes), batch by batch.

    Args:
        model: in evaluation mode.
        samples: the samples.
        rows: indices of those to run, in this order.
        example: one input, (1, *input shape).
        otherwise: as in `read_last_layer`.

    Raises:
        FireError: as `read_last_layer`.
    """
    head = _find_head(model, example)

    def run(part: Sequence[int]) -> tuple[Tensor, Tensor]:
        seen: list[Tensor] = []
        if head is None:
            kept = record_features(model, [otherwise], lambda _, f: seen.append(_as_vectors(f)))
        else:
            kept = record_inputs(head, lambda f: seen.append(_as_vectors(f)))
        with kept:
            predicted = logits_of(model, samples.load(part))
        return torch.cat(seen), predicted

    for _, read in fitting_batches(model, rows, run):
        yield read


def _as_vectors(features: Tensor) -> Tensor:
    return channel_means(features).float().cpu()


def _find_head(model: nn.Module, example: Tensor) -> nn.Linear | None:
    """Return the last linear layer that runs once and returns a row of one value per class."""
    with record_linear_layers(model) as ran:
        shape = logits_of(model, example).shape
    modules = [module for module, _ in ran]
    fitting = [m for m, seen in ran if seen == shape and modules.count(m) == 1]
    return fitting[-1] if fitting else None
