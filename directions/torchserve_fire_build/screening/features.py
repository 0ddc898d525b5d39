"""What a model makes of samples: their features at several layers, and what they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.errors import CalibrationError
from ..common.hooks import record_features
from ..common.progress import Progress
from ..estimate.channels import channel_means
from ..samples.fitting_batches import fitting_batches
from ..samples.predict import logits_of
from ..samples.samples import Samples


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


def join_features(parts: Sequence[Features]) -> Features:
    """Return features of several samples at the same layers as one."""
    layers = {layer: torch.cat([part.layers[layer] for part in parts]) for layer in parts[0].layers}
    digests = [digest for part in parts for digest in part.digests]
    return Features(layers, torch.cat([part.predicted for part in parts]), digests)


def read_features(
    model: nn.Module, samples: Samples, layers: Sequence[str], progress: Progress
) -> Features:
    """Run a model on samples once, and keep each channel's mean at each layer.

    Args:
        model: in evaluation mode.
        samples: N samples; each is read once.
        layers: module names.
        progress: advanced by N.

    Raises:
        CalibrationError: the model fails on the samples, or a feature is not finite.
        AttachError: the model has no such layer.
    """
    parts: list[dict[str, Tensor]] = []
    predicted, digests = [], []

    def run(part: Sequence[int]) -> tuple[dict[str, Tensor], Tensor, list[str]]:
        batch, means = samples.load(part), {}

        def keep(layer: str, feature: Tensor) -> None:
            means[layer] = channel_means(feature).float()

        with record_features(model, layers, keep):
            called = logits_of(model, batch).argmax(1)
        digests = [hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in batch]
        return {layer: mean.cpu() for layer, mean in means.items()}, called, digests

    for part, (means, called, hashed) in fitting_batches(model, range(len(samples)), run):
        parts.append(means)
        predicted.append(called)
        digests += hashed
        progress.advance(len(part))
    features = {layer: torch.cat([part[layer] for part in parts]) for layer in layers}
    for layer, kept in features.items():
        if not bool(kept.isfinite().all()):
            row = int((~kept.isfinite()).any(1).nonzero()[0])
            raise CalibrationError(
                f"{samples.source}: {samples.names[row]}: the model's features at layer {layer!r} "
                "are not finite, so they cannot be compared: leave this sample out"
            )
    return Features(features, torch.cat(predicted), digests)
