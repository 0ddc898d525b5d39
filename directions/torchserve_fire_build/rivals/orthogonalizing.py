"""A bundle's direction, projected out of the weights (Arditi et al., NeurIPS 2024)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..building.build_options import BuildOptions
from ..building.from_samples import as_loaded, build_from_evidence
from ..common.errors import SanitizeError
from ..common.hooks import record_features
from ..estimate.candidate_layers import candidate_layers
from ..estimate.channels import channel_means
from ..samples.predict import logits_of
from ..sanitize.orthogonalizing import orthogonalize
from ..sanitize.writers import find_writers
from .rival import Defence, Granted, RivalNotApplicable, answer_with


def orthogonalizing(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Build a clamp at the layers that weights write, and take its direction out of these.

    Raises:
        RivalNotApplicable: none of the candidate layers is written by weights alone.
        CalibrationError: no clamp there recovers the triggered images.
        SanitizeError: the layer's projection still depends on the input.
    """
    clean = granted.pool.samples
    layers = _written_by_weights(model, clean.load([0]))
    if not layers:
        raise RivalNotApplicable(
            f"{type(model).__name__}: weights alone write none of the candidate layers"
        )
    seed = int(torch.randint(2**31, (1,), generator=generator))
    options = BuildOptions(layers=layers, form="clamp", seed=seed)
    built = build_from_evidence(as_loaded(model), granted.evidence, options)
    return answer_with(orthogonalize(model, built.bundle, clean))


def _written_by_weights(model: nn.Module, example: Tensor) -> list[str]:
    """Return the candidate layers whose output is a sum of what weights write."""
    channels: dict[str, int] = {}

    def take(layer: str, features: Tensor) -> None:
        channels[layer] = channel_means(features).shape[1]

    candidates = candidate_layers(model, example)
    with record_features(model, candidates, take):
        logits_of(model, example)
    found = []
    for layer in candidates:
        try:
            find_writers(model, layer, example, channels[layer])
        except SanitizeError:
            continue
        found.append(layer)
    return found
