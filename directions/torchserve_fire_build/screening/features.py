"""What a model makes of samples: their features at several layers, and what they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.errors import CalibrationError
from ..common.hooks import record_features
from ..common.progress import Progress
from ..estimate.channels import channel_means
from ..samples.fitting_batches import fitting_batches
from ..samples.predict import logits_of
from ..samples.samples import Samples, bytes_of


@dataclass(frozen=True)
class Features:
    """The features of N samples, each channel averaged over its places.

    Attributes:
        layers: layer to features, (N, C) float32.
        predicted: the class that the model calls each sample, (N,) int64.
        digests: of each sample as the model takes it; samples that are equal have the same.
    """

    layers: Mapping[str, Tensor]
    predicted: Tensor
    digests: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.predicted)

    def at(self, indices: Tensor) -> Features:
        """Return those of the samples at `indices`, (n,) int64."""
        layers = {layer: features[indices] for layer, features in self.layers.items()}
        digests = [self.digests[i] for i in indices.tolist()] if self.digests else ()
        return Features(layers, self.predicted[indices], digests)

    def blocks(self) -> Iterator[tuple[Tensor, Features]]:
        """Yield all of them as one block, as `FeatureFile.blocks` does."""
        yield torch.arange(len(self)), self


def join_features(parts: Sequence[Features]) -> Features:
    """Return features of several samples at the same layers as one."""
    layers = {layer: torch.cat([part.layers[layer] for part in parts]) for layer in parts[0].layers}
    digests = [digest for part in parts for digest in part.digests]
    return Features(layers, torch.cat([part.predicted for part in parts]), digests)


def read_features(
    model: nn.Module, samples: Samples, layers: Sequence[str], progress: Progress
) -> Features:
    """Run a model on samples once, and keep each channel's mean at each layer, in memory.

    Args:
        model: in evaluation mode.
        samples: N samples; each is read once.
        layers: module names.
        progress: advanced by N.

    Raises:
        FireError: as `features_by_batch`.
    """
    parts = []
    for part in features_by_batch(model, samples, layers):
        parts.append(part)
        progress.advance(len(part))
    return join_features(parts)


def features_by_batch(
    model: nn.Module, samples: Samples, layers: Sequence[str]
) -> Iterator[Features]:
    """Run a model on samples once, and yield each channel's mean at each layer, batch by batch.

    Args:
        model: in evaluation mode.
        samples: the samples; each is read once.
        layers: module names.

    Raises:
        CalibrationError: the model fails on the samples, or a feature is not finite.
        AttachError: the model has no such layer.
    """

    def run(part: Sequence[int]) -> Features:
        batch, means = samples.load(part), dict[str, Tensor]()

        def keep(layer: str, feature: Tensor) -> None:
            means[layer] = channel_means(feature).float()

        with record_features(model, layers, keep):
            called = logits_of(model, batch).argmax(1)
        digests = [hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in batch]
        return Features({layer: means[layer].cpu() for layer in layers}, called, digests)

    size = bytes_of(samples.description)
    for part, found in fitting_batches(model, range(len(samples)), run, input_bytes=size):
        for layer, kept in found.layers.items():
            if not bool(kept.isfinite().all()):
                row = part[int((~kept.isfinite()).any(1).nonzero()[0])]
                raise CalibrationError(
                    f"{_place(samples, row)}: the model's features at layer {layer!r} are not "
                    "finite, so they cannot be compared: leave this sample out"
                )
        yield found


def _place(samples: Samples, row: int) -> str:
    """Return where a sample lies, for messages."""
    if samples.paths is not None:
        return str(samples.paths[row])
    return f"{samples.source}: {samples.names[row]}"
