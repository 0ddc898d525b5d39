"""The rest of a model: from a layer's features to the logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from torchserve_fire.errors import FireError

from ..common.hooks import edit_features
from ..common.partial_runs import BehindLayer, features_at
from ..samples.predict import differentiable_logits, logits_of, reporting_failures

CLOSE = 1e-3
"""Logits that differ by less than this share of their span are the same."""


class RestOfModel:
    """Runs a model from a layer on, on features in the place of the layer's own.

    What the layers before compute does not matter then, so they get one input, to save time. Some
    models count their inputs, and fail if the number of features is another one; their earlier
    layers do not run, and only the number of inputs goes through. Where the values go through, too,
    the earlier layers get as many inputs as there are features.

    Args:
        model: in evaluation mode.
        layer: a module name.
        inputs: some inputs of the model, (N, *S), at least two.

    Attributes:
        layer: the module name.
        whole: whether the layers before get as many inputs as there are features.

    Raises:
        AttachError: the model has no such layer, or the layer returns no tensor.
        CalibrationError: the model fails on these inputs.
    """

    def __init__(self, model: nn.Module, layer: str, inputs: Tensor) -> None:
        self._model, self.layer = model, layer
        self._inputs = inputs
        with reporting_failures(model, inputs):
            self._behind = BehindLayer(model, layer, inputs[:1])
        cheap = (self._from_one, self._from_nothing)
        found = next((run for run in cheap if self._keeps_logits(run)), None)
        self.whole = found is None
        self._run = self._from_as_many if found is None else found

    def features(self, inputs: Tensor) -> Tensor:
        """Return the layer's features of inputs (N, *S), (N, *features)."""
        with reporting_failures(self._model, inputs):
            return features_at(self._model, self.layer, inputs)

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits of features (N, *features), (N, classes) float32, differentiable."""
        return self._run(features)

    def values(self, features: Tensor) -> int:
        """Return how many values `logits` takes for each of the features (N, *features)."""
        own = features[0].numel()
        return max(own, self._inputs[0].numel()) if self.whole else own

    def _from_one(self, features: Tensor) -> Tensor:
        return self._replacing(features, self._inputs[:1])

    def _from_nothing(self, features: Tensor) -> Tensor:
        with self._behind.starting_from(features) as inputs:
            return differentiable_logits(self._model, inputs)

    def _from_as_many(self, features: Tensor) -> Tensor:
        rows = torch.arange(len(features)) % len(self._inputs)
        return self._replacing(features, self._inputs[rows])

    def _replacing(self, features: Tensor, inputs: Tensor) -> Tensor:
        with edit_features(self._model, self.layer, lambda _: features):
            return differentiable_logits(self._model, inputs)

    def _keeps_logits(self, run: Callable[[Tensor], Tensor]) -> bool:
        """Return whether two inputs have the same logits if the model goes on from features."""
        inputs = self._inputs[:2]
        expected = logits_of(self._model, inputs)
        try:
            with torch.no_grad():
                logits = run(self.features(inputs)).cpu()
        except FireError:
            return False
        span = float(expected.max() - expected.min())
        same = logits.shape == expected.shape
        return same and bool(((logits - expected).abs() <= CLOSE * span).all())
