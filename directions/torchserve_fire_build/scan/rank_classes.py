"""An order of the classes by how easily shifts of late layers' features lead there."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from torchserve_fire.repair.layers import device_of

from ..common.hooks import record_features
from ..common.progress import Progress
from ..estimate.candidate_layers import candidate_layers
from ..reconstruct.subject import Subject
from ..samples.predict import logits_of
from .feature_shifts import inputs_for_each, shift_losses
from .rest_of_model import RestOfModel
from .scores import scores_of

INPUTS = 200
"""The most clean inputs whose features are shifted."""

DEPTHS = (1.0, 0.8)
"""How deep the layers lie whose features are shifted, as a share of all candidate layers. What lies
behind them costs next to nothing."""

MOST_FEATURES = 1 << 15
"""A layer that has more features for each input makes way for the next one that has not: what lies
behind it costs more for each class."""

LENGTHS = (0.1, 0.2)
"""Lengths of the shifts: which of them tells the classes apart depends on the model."""


def rank_classes(subject: Subject, seed: int) -> Tensor:
    """Score the classes by how easily shifts of late layers' features lead there.

    Args:
        subject: the model, and clean inputs.
        seed: of the random numbers.

    Returns:
        Of each class, (classes,) float64; higher is more suspicious.

    Raises:
        CalibrationError: no layer carries everything from the input to the output, or the model
            does not allow the shifts.
    """
    predicted = subject.predicted[:INPUTS]
    each = inputs_for_each(subject.classes)
    scores = torch.zeros(subject.classes, dtype=torch.float64)
    for rest, features in late_layers(subject):
        work = len(LENGTHS) * subject.classes
        with Progress(f"ranking the classes by layer {rest.layer}", work) as progress:
            for length in LENGTHS:
                generator = torch.Generator().manual_seed(seed)
                losses = shift_losses(
                    rest,
                    features,
                    predicted,
                    subject.classes,
                    length,
                    generator,
                    each,
                    progress.advance,
                )
                scores = torch.maximum(scores, scores_of(losses))
    return scores


def late_layers(subject: Subject) -> Iterator[tuple[RestOfModel, Tensor]]:
    """Yield the model from each of some late layers on, with the features of `INPUTS` inputs.

    Raises:
        CalibrationError: no layer carries everything from the input to the output.
    """
    inputs = subject.inputs[:INPUTS]
    for layer in dict.fromkeys(_late_layers(subject.model, inputs[:1])):
        rest = RestOfModel(subject.model, layer, inputs)
        yield rest, rest.features(inputs)


def _late_layers(model: nn.Module, example: Tensor) -> Iterator[str]:
    """Yield the layer at each of `DEPTHS`, or the next one behind it with few features."""
    example = example.to(device_of(model))
    sizes: dict[str, int] = {}
    found = candidate_layers(model, example)
    with record_features(model, found, lambda name, f: sizes.update({name: f[0].numel()})):
        logits_of(model, example)
    for depth in DEPTHS:
        behind = found[round(depth * (len(found) - 1)) :]
        yield next((layer for layer in behind if sizes[layer] <= MOST_FEATURES), behind[-1])
