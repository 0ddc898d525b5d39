"""FIRE (arXiv 2602.10780) in its plain form: features moved back by the trigger's mean shift.

The paper's own formula and layer rule are not known beyond its abstract; this is the reading of it
that this project measures itself against: h' = h - d, where d is the mean of triggered minus clean
features of a layer, at the one layer that serves the calibration samples best.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..common.hooks import Edit, edit_features, record_features
from ..samples.evidence import Evidence
from ..samples.predict import logits_of
from .feature_edits import defend_at_best_layer
from .layer_means import layer_means, projections
from .predicting import predict, share
from .rival import Answers, Defence, Granted, answer_with

CLEAN_QUANTILE = 0.99
"""Of the clean calibration samples, the share that is not to be flagged."""


def fire_every_input(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Move every input's features back."""
    means = layer_means(model, granted.evidence)
    edits = {layer: shift_by(mean.difference) for layer, mean in means.items()}
    return defend_at_best_layer(model, granted.labelled, edits)


def fire_flagged_inputs(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Move the features of flagged inputs back, in a second pass.

    An input is flagged whose projection on d, at the layer where that flags most of the triggered
    calibration samples, exceeds the 99 % quantile of the clean ones'. The repairing layer is chosen
    by what the calibration samples are predicted as after that: accuracy of triggered plus accuracy
    of clean ones.
    """
    differences = {
        layer: mean.difference for layer, mean in layer_means(model, granted.evidence).items()
    }
    gate = _choose_gate(model, granted.evidence, differences)
    layer = _choose_repairing_layer(model, granted, differences, gate)
    return gate.defend(model, layer, shift_by(differences[layer]))


def shift_by(difference: Tensor) -> Edit:
    """Return the edit h - d."""
    return lambda features: features - difference


class _Gate:
    """Flags inputs by their projection at a layer.

    Args:
        layer: name of the detecting layer.
        direction: (*S).
        threshold: a projection above it is flagged.
    """

    def __init__(self, layer: str, direction: Tensor, threshold: float) -> None:
        self.layer, self.direction, self.threshold = layer, direction, threshold

    def defend(self, model: nn.Module, layer: str, edit: Edit) -> Defence:
        plain = answer_with(model)

        def answer(inputs: Tensor) -> Answers:
            scores: list[Tensor] = []

            def take(name: str, features: Tensor) -> None:
                scores.append(features.flatten(1) @ self.direction.flatten())

            with record_features(model, [self.layer], take):
                predictions = plain(inputs).predictions
            flagged = (scores[0] > self.threshold).cpu()
            if flagged.any():
                with edit_features(model, layer, edit):
                    predictions[flagged] = logits_of(model, inputs[flagged]).argmax(1)
            return Answers(predictions, flagged, 1 + flagged.float())

        return answer


def _choose_gate(model: nn.Module, evidence: Evidence, differences: dict[str, Tensor]) -> _Gate:
    clean, triggered = (projections(model, differences, samples) for samples in evidence.both)
    thresholds = {layer: float(clean[layer].quantile(CLEAN_QUANTILE)) for layer in differences}

    def how_well_flagged(layer: str) -> tuple[float, float]:
        # Where several layers flag every triggered sample, the widest gap is the safest.
        gap = triggered[layer].median() - thresholds[layer]
        spread = clean[layer].std().clamp(min=1e-12)
        return share(triggered[layer] > thresholds[layer]), float(gap / spread)

    layer = max(differences, key=how_well_flagged)
    return _Gate(layer, differences[layer], thresholds[layer])


def _choose_repairing_layer(
    model: nn.Module, granted: Granted, differences: dict[str, Tensor], gate: _Gate
) -> str:
    groups = []
    for samples, labels in granted.labelled.map(lambda each: (each.samples, each.labels)):
        scores = projections(model, {gate.layer: gate.direction}, samples)[gate.layer]
        groups.append((samples, labels, scores > gate.threshold, predict(model, samples)))

    def worth(layer: str) -> float:
        with edit_features(model, layer, shift_by(differences[layer])):
            return sum(
                share(torch.where(flagged, predict(model, samples), before) == labels)
                for samples, labels, flagged, before in groups
            )

    return max(differences, key=worth)
