"""What the model predicts for a group of samples when its features are moved to those of others.

Under the trigger, a group of triggered samples shows other classes. Move the group's mean features,
at some layer, to those of all other samples: the model then predicts other classes, as surely as it
usually predicts. A group of clean samples shows its own class; once moved, it shows no class
clearly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.hooks import edit_features, record_features
from ..estimate.moments import Moments
from ..samples.fitting_batches import fitting_batches
from ..samples.predict import logits_of
from ..samples.samples import Samples

MOST_AVERAGED = 1000
MOST_MOVED = 200
"""The most samples of a group that a mean is taken of, and that are moved. With only some dozens,
what the model predicts for them would depend on chance."""


def mean_features(
    model: nn.Module, layers: Sequence[str], samples: Samples, indices: Sequence[int]
) -> dict[str, Tensor]:
    """Return the mean features of samples at each layer, (*S) float32.

    Args:
        model: in evaluation mode.
        layers: module names.
        samples: the samples.
        indices: the samples to take the mean of; of more than `MOST_AVERAGED`, an even choice.
    """
    moments = {name: Moments() for name in layers}

    def run(part: Sequence[int]) -> dict[str, Moments]:
        grown = {name: copy(seen) for name, seen in moments.items()}
        with record_features(model, layers, lambda name, f: grown[name].add(f)):
            logits_of(model, samples.load(part))
        return grown

    for _, grown in fitting_batches(model, _evenly(indices, MOST_AVERAGED), run):
        moments.update(grown)
    return {name: moments[name].mean.cpu() for name in layers}


def certainty(logits: Tensor) -> Tensor:
    """Return the likeliest class's probability minus the second's, for each row, (N,) in [0, 1]."""
    first, second = logits.softmax(1).topk(2, 1).values.unbind(1)
    return first - second


@dataclass(frozen=True)
class OtherClasses:
    """How surely a model predicts other classes for samples of one class once they are moved.

    Attributes:
        certainty: mean certainty of the predictions of other classes, a sample whose prediction
            stays counting 0; at the layer where it is highest.
        variety: the same times the share of the other classes among which it is spread (1 if all
            of them have equally much); at the layer where it is highest.
    """

    certainty: float
    variety: float


@dataclass(frozen=True)
class Group:
    """Samples that are moved together.

    Attributes:
        indices: the samples.
        predicted: the class that the model predicts for all of them.
    """

    indices: Sequence[int]
    predicted: int


SeeOtherClasses = Callable[[Sequence[Group], Mapping[str, Tensor]], Sequence[OtherClasses]]
"""Does as `see_other_classes` for each of several groups of a pool."""


def see_other_classes(
    model: nn.Module, samples: Samples, group: Group, rest: Mapping[str, Tensor]
) -> OtherClasses:
    """Return how surely the model predicts other classes for a group that is moved.

    Args:
        model: in evaluation mode.
        samples: the samples.
        group: some of them.
        rest: mean features to move the group to, by layer.
    """
    own = mean_features(model, list(rest), samples, group.indices)
    shifts = {name: rest[name] - own[name] for name in rest}

    def run(part: Sequence[int]) -> list[Tensor]:
        # Reading samples takes longer than running them, so a batch is read for all layers.
        inputs = samples.load(part)
        return [_moved_logits(model, inputs, name, shift) for name, shift in shifts.items()]

    batches = fitting_batches(model, _evenly(group.indices, MOST_MOVED), run)
    at_layers = zip(*(logits for _, logits in batches), strict=True)
    seen = [_other_classes(torch.cat(logits), group.predicted) for logits in at_layers]
    return OtherClasses(
        max(at_layer.certainty for at_layer in seen), max(at_layer.variety for at_layer in seen)
    )


def _other_classes(logits: Tensor, predicted: int) -> OtherClasses:
    certain = certainty(logits) * (logits.argmax(1) != predicted)
    by_class = torch.zeros(logits.shape[1]).index_add(0, logits.argmax(1), certain)
    # The number of classes that, with equal shares, would have the same entropy.
    shares = by_class / by_class.sum().clamp(min=1e-12)
    spread = torch.special.entr(shares).sum().exp()
    mean = float(certain.mean())
    return OtherClasses(mean, mean * float(spread) / (logits.shape[1] - 1))


def _moved_logits(model: nn.Module, inputs: Tensor, layer: str, shift: Tensor) -> Tensor:
    with edit_features(model, layer, lambda features: features + shift.to(features)):
        return logits_of(model, inputs)


def _evenly(indices: Sequence[int], most: int) -> list[int]:
    if len(indices) <= most:
        return list(indices)
    return [indices[i * len(indices) // most] for i in range(most)]
