"""What the evidence says of each candidate layer: mean clean and mean triggered features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.evidence import Evidence
from benchmarks.measure import predict
from benchmarks.victims.data import Images
from benchmarks.victims.poison import to_float
from benchmarks.victims.train import normalise
from torchserve_fire_build.common.hooks import record_features
from torchserve_fire_build.estimate.candidate_layers import candidate_layers
from torchserve_fire_build.estimate.moments import Moments


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
    """Return the candidate layers for the images of the evidence, in the order they run."""
    return candidate_layers(model, normalise(to_float(evidence.clean.pixels[:1])))


def layer_means(model: nn.Module, evidence: Evidence) -> dict[str, LayerMeans]:
    """Return the mean features of each candidate layer, in the order the layers run."""
    layers = layers_to_try(model, evidence)
    clean, triggered = (
        _means(model, layers, images) for images in (evidence.clean, evidence.triggered)
    )
    return {layer: LayerMeans(clean[layer], triggered[layer]) for layer in layers}


def projections(
    model: nn.Module, directions: dict[str, Tensor], images: Images
) -> dict[str, Tensor]:
    """Return for each layer the inner products, (N,), of its features with a direction, (*S)."""
    scores: dict[str, list[Tensor]] = {layer: [] for layer in directions}

    def take(layer: str, features: Tensor) -> None:
        scores[layer].append(features.flatten(1) @ directions[layer].flatten())

    with record_features(model, list(directions), take):
        predict(model, images)
    return {layer: torch.cat(parts) for layer, parts in scores.items()}


def _means(model: nn.Module, layers: list[str], images: Images) -> dict[str, Tensor]:
    moments = {layer: Moments() for layer in layers}
    with record_features(model, layers, lambda layer, features: moments[layer].add(features)):
        predict(model, images)
    return {layer: found.mean for layer, found in moments.items()}
