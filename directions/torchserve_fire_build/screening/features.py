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
from ..samples.predict import logits_of
from ..samples.samples import Samples, iterate


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
    parts: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    predicted, digests = [], []

    def keep(layer: str, feature: Tensor) -> None:
        parts[layer].append(channel_means(feature).float().cpu())

    with record_features(model, layers, keep):
        for part, batch in iterate(samples, range(len(samples))):
            predicted.append(logits_of(model, batch).argmax(1))
            digests += [hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in batch]
            progress.advance(len(part))
    features = {layer: torch.cat(kept) for layer, kept in parts.items()}
    for layer, kept in features.items():
        if not bool(kept.isfinite().all()):
            row = int((~kept.isfinite()).any(1).nonzero()[0])
            raise CalibrationError(
                f"{samples.source}: {samples.names[row]}: the model's features at layer {layer!r} "
                "are not finite, so they cannot be compared: leave this sample out"
            )
    return Features(features, torch.cat(predicted), digests)
