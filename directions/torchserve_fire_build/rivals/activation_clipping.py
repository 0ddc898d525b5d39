"""Activation clipping, a simple form of Wang et al., arXiv 2308.04617.

The paper bounds the activations inside the net from above, and learns the bounds so that they limit
the classification margins. This form is a simplification: the bounds are not learned. The bound of
a channel is a quantile of its maximum over each of a set of clean images; the quantile is the same
for all channels of all layers, the lowest that keeps the accuracy on other clean images.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..samples.samples import Samples
from ..samples.subset import Subset
from ..sanitize.labelled_samples import LabelledSamples
from .activations import visit_activations
from .predicting import accuracy, predict
from .rival import Defence, Granted, RivalNotApplicable, answer_with

QUANTILES = (1.0, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)

ACCURACY_LOSS = 0.02
"""Accuracy on clean images that clipping may cost."""


def activation_clipping(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Clip the activations of every input at the bounds.

    The bounds come from one half of the clean images, the quantile from the other half: the lowest
    that costs at most 2 points of accuracy there.

    Raises:
        RivalNotApplicable: the model has no activation that is a module.
    """
    half = len(granted.pool) // 2
    seen, held_out = _part(granted.pool, 0, half), _part(granted.pool, half, len(granted.pool))
    maxima = _maxima(model, seen.samples)
    if not maxima:
        raise RivalNotApplicable("the model has no activation that is a module")
    before = accuracy(model, held_out)
    # Where even the maximum costs more than it may, nothing gentler is left.
    best = _clipped(model, maxima, QUANTILES[0])
    for quantile in QUANTILES[1:]:
        clipped = _clipped(model, maxima, quantile)
        if accuracy(clipped, held_out) < before - ACCURACY_LOSS:
            break
        best = clipped
    return answer_with(best)


def _part(pool: LabelledSamples, start: int, stop: int) -> LabelledSamples:
    return LabelledSamples(Subset(pool.samples, range(start, stop)), pool.labels[start:stop])


def _clipped(model: nn.Module, maxima: Mapping[str, Tensor], quantile: float) -> nn.Module:
    """Return a copy of the model that clips at a quantile of the maxima."""
    bounds = {name: values.quantile(quantile, dim=0) for name, values in maxima.items()}

    def clip(name: str, output: Tensor, dimension: int) -> Tensor:
        shape = [1] * output.dim()
        shape[dimension] = -1
        return output.minimum(bounds[name].view(shape))

    clipped = copy.deepcopy(model)
    visit_activations(clipped, clip)
    return clipped


def _maxima(model: nn.Module, samples: Samples) -> dict[str, Tensor]:
    """Return for each activation each channel's maximum over each sample, (N, C)."""
    parts: dict[str, list[Tensor]] = {}

    def take(name: str, output: Tensor, dimension: int) -> None:
        channels = (
            output.movedim(dimension, 1).flatten(2) if output.dim() > 2 else output[..., None]
        )
        parts.setdefault(name, []).append(channels.amax(2))

    handles = visit_activations(model, take)
    try:
        predict(model, samples)
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(found) for name, found in parts.items()}
