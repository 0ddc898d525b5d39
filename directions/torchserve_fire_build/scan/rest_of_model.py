"""The rest of a model: from a layer's features to the logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchserve_fire.errors import FireError

from ..common.hooks import edit_features, record_features
from ..samples.predict import differentiable_logits, logits_of

CLOSE = 1e-3
"""Logits that differ by less than this share of their span are the same."""


class RestOfModel:
    """Runs a model from a layer on, on features in the place of the layer's own.

    What the layers before compute does not matter then, so they get one input, to save time. Some
    models count their inputs, and fail if the number of features is another one; their earlier
    layers get as many inputs as there are features.

    Args:
        model: in evaluation mode.
        layer: a module name.
        inputs: some inputs of the model, (N, *S), at least two.

    Attributes:
        layer: the module name.
        from_one: whether the layers before get one input.
    """

    def __init__(self, model: nn.Module, layer: str, inputs: Tensor) -> None:
        self._model, self.layer = model, layer
        self._inputs = inputs
        self.from_one = True
        self.from_one = self._goes_on_from_one()

    def features(self, inputs: Tensor) -> Tensor:
        """Return the layer's features of inputs (N, *S), (N, *features)."""
        seen: list[Tensor] = []
        # Copies, since a later layer may work in place.
        with record_features(self._model, [self.layer], lambda _, f: seen.append(f.clone())):
            logits_of(self._model, inputs)
        return seen[0]

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits of features (N, *features), (N, classes) float32, differentiable."""
        before = self._inputs[:1]
        if not self.from_one:
            rows = torch.arange(len(features)) % len(self._inputs)
            before = self._inputs[rows]
        with edit_features(self._model, self.layer, lambda _: features):
            return differentiable_logits(self._model, before)

    def values(self, features: Tensor) -> int:
        """Return how many values `logits` takes for each of the features (N, *features)."""
        own = features[0].numel()
        return own if self.from_one else max(own, self._inputs[0].numel())

    def _goes_on_from_one(self) -> bool:
        """Return whether two inputs have the same logits if the model goes on from features."""
        inputs = self._inputs[:2]
        expected = logits_of(self._model, inputs)
        try:
            with torch.no_grad():
                logits = self.logits(self.features(inputs)).cpu()
        except FireError:
            return False
        span = float(expected.max() - expected.min())
        same = logits.shape == expected.shape
        return same and bool(((logits - expected).abs() <= CLOSE * span).all())
