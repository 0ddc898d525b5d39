"""Changing the features of one layer, and choosing the layer where that helps most."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ..common.hooks import Edit, edit_features
from ..samples.both import Both
from ..sanitize.labelled_samples import LabelledSamples
from .predicting import accuracy
from .rival import Answers, Defence, answer_with


def answer_edited(model: nn.Module, layer: str, edit: Edit) -> Defence:
    """Return the defence that changes the features of a layer of every input."""
    plain = answer_with(model)

    def answer(inputs: Tensor) -> Answers:
        with edit_features(model, layer, edit):
            return plain(inputs)

    return answer


def defend_at_best_layer(
    model: nn.Module, labelled: Both[LabelledSamples], edits: Mapping[str, Edit]
) -> Defence:
    """Return the defence by the one of the edits, layer to edit, that the samples favour.

    That is the one with the highest accuracy of triggered plus accuracy of clean calibration
    samples; of several, the first.
    """

    def worth(layer: str) -> float:
        with edit_features(model, layer, edits[layer]):
            return sum(accuracy(model, samples) for samples in labelled)

    layer = max(edits, key=worth)
    return answer_edited(model, layer, edits[layer])
