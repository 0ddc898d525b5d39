"""What the evidence says of each candidate layer: mean clean and mean triggered features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.hooks import record_features
from ..estimate.candidate_layers import candidate_layers
from ..estimate.moments import Moments
from ..samples.evidence import Evidence
from ..samples.samples import Samples
from .predicting import predict


@dataclass(frozen=True)
class LayerMeans:
    """Mean features of a layer, (*S) float32.

    Attributes:
        clean: of the clean calibration samples.
        triggered: of the triggered ones.
    """

    clean: Tensor
    triggered: Tensor

    @property
    def difference(self) -> Tensor:
        """Mean triggered minus mean clean features, (*S); for pairs, the pairs' mean difference."""
        return self.triggered - self.clean


def layers_to_try(model: nn.Module, evidence: Evidence) -> list[str]:
    """Return the candidate layers for the evidence, in the order they run."""
    return candidate_layers(model, evidence.clean.load([0]))


def layer_means(model: nn.Module, evidence: Evidence) -> dict[str, LayerMeans]:
    """Return the mean features of each candidate layer, in the order the layers run."""
    layers = layers_to_try(model, evidence)
    clean, triggered = (_means(model, layers, samples) for samples in evidence.both)
    return {layer: LayerMeans(clean[layer], triggered[layer]) for layer in layers}


def projections(
    model: nn.Module, directions: dict[str, Tensor], samples: Samples
) -> dict[str, Tensor]:
    """Return the inner products, (N,), of each layer's features with a direction, (*S)."""
    scores: dict[str, list[Tensor]] = {layer: [] for layer in directions}

    def take(layer: str, features: Tensor) -> None:
        scores[layer].append((features.flatten(1) @ directions[layer].flatten()).cpu())

    with record_features(model, list(directions), take):
        predict(model, samples)
    return {layer: torch.cat(parts) for layer, parts in scores.items()}


def _means(model: nn.Module, layers: list[str], samples: Samples) -> dict[str, Tensor]:
    moments = {layer: Moments() for layer in layers}
    with record_features(model, layers, lambda layer, features: moments[layer].add(features)):
        predict(model, samples)
    return {layer: found.mean for layer, found in moments.items()}
