"""What the model sees in a group of samples once their features are moved to where others lie.

A group of triggered samples shows other classes under the trigger: with its mean features moved to
those of all other samples, at some layer, the model calls its samples something else, as surely as
it usually is. A group that is cut out of a class shows that class, and moved, nothing clearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.hooks import edit_features, record_features
from ..estimate.moments import Moments
from ..samples.predict import logits_of
from ..samples.samples import Samples, iterate

MOST_AVERAGED = 1000
MOST_MOVED = 200
"""Samples of a group that means are taken of, and that are moved, where there are more: of some
dozens, what the model sees in them would be left to chance."""


def mean_features(
    model: nn.Module, layers: Sequence[str], samples: Samples, indices: Sequence[int]
) -> dict[str, Tensor]:
    """Return the mean features of samples at each layer, (*S) float32.

    Args:
        model: in evaluation mode.
        layers: module names.
        samples: some samples.
        indices: of which to take the mean; of many, some evenly spread ones.
    """
    moments = {name: Moments() for name in layers}
    with record_features(model, layers, lambda name, f: moments[name].add(f.cpu())):
        for _, batch in iterate(samples, _evenly(indices, MOST_AVERAGED)):
            logits_of(model, batch)
    return {name: moments[name].mean for name in layers}


def certainty(logits: Tensor) -> Tensor:
    """Return how much likelier each row's likeliest class is than its second, (N,) in [0, 1]."""
    first, second = logits.softmax(1).topk(2, 1).values.unbind(1)
    return first - second


@dataclass(frozen=True)
class OtherClasses:
    """What a model sees in samples of one predicted class once they are moved.

    Attributes:
        certainty: how surely it sees other classes, on average, zero where the prediction stays; at
            the layer where it is the highest.
        variety: the same times the share of the other classes among which it is spread, which is 1
            where each has as much of it; at the layer where that is the highest.
    """

    certainty: float
    variety: float


def see_other_classes(
    model: nn.Module,
    samples: Samples,
    indices: Sequence[int],
    predicted: int,
    rest: dict[str, Tensor],
) -> OtherClasses:
    """Return what other classes the model sees in a group that is moved to the others.

    Args:
        model: in evaluation mode.
        samples: some samples.
        indices: of the group.
        predicted: the class that the model predicts for all of the group.
        rest: mean features of the others, by layer.
    """
    own = mean_features(model, list(rest), samples, indices)
    moved = _evenly(indices, MOST_MOVED)
    seen = [
        _other_classes(
            _predict_moved(model, samples, moved, name, rest[name] - own[name]), predicted
        )
        for name in rest
    ]
    return OtherClasses(max(each.certainty for each in seen), max(each.variety for each in seen))


def _other_classes(logits: Tensor, predicted: int) -> OtherClasses:
    certain = certainty(logits) * (logits.argmax(1) != predicted)
    by_class = torch.zeros(logits.shape[1]).index_add(0, logits.argmax(1), certain)
    # As many classes with equal shares have the same entropy.
    shares = by_class / by_class.sum().clamp(min=1e-12)
    spread = torch.special.entr(shares).sum().exp()
    mean = float(certain.mean())
    return OtherClasses(mean, mean * float(spread) / (logits.shape[1] - 1))


def _predict_moved(
    model: nn.Module, samples: Samples, indices: Sequence[int], layer: str, shift: Tensor
) -> Tensor:
    with edit_features(model, layer, lambda features: features + shift.to(features)):
        return torch.cat([logits_of(model, batch) for _, batch in iterate(samples, indices)])


def _evenly(indices: Sequence[int], most: int) -> list[int]:
    if len(indices) <= most:
        return list(indices)
    return [indices[i * len(indices) // most] for i in range(most)]
