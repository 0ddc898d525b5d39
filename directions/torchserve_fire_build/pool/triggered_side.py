"""Which of two groups of samples, both predicted as the same class, is triggered, if either is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..samples.samples import Samples
from .last_layer import LastLayer
from .moved_back import certainty, mean_features, see_other_classes

MIN_CERTAINTY = 0.6
"""The least certainty with which the model predicts other classes for a triggered group once it is
moved, as a share of the model's usual certainty."""

MIN_CERTAINTY_RATIO = 1.25
"""The least ratio of that certainty in the triggered group to that in the other group."""

MIN_VARIETY = 0.35
"""As `MIN_CERTAINTY`, for certainty that is spread over most classes. It is, unless samples of only
a few classes carry the trigger."""

MIN_VARIETY_RATIO = 1.4
"""As `MIN_CERTAINTY_RATIO`. On development images of the benchmark's victims, triggered groups
reach 1.49 and more; in certainty, some do not reach the ratio that is asked for."""

FEW_CLASSES = 0.1
"""As `MIN_VARIETY`; below it, a triggered group shows only a few other classes. In a pool of
200,000 images of 53 classes, that of the trigger reached .32, and groups of clean signs that look
alike .08 and less. A trigger that only a few classes carry looks so, too."""


@dataclass(frozen=True)
class Triggered:
    """A triggered group.

    Attributes:
        members: which of the class's samples are in it, (n,) bool.
        few_classes: whether it shows only a few other classes once it is moved.
    """

    members: Tensor
    few_classes: bool


class TriggeredSide:
    """Judges two groups by what the model predicts for them once they are moved (`moved_back`).

    Args:
        model: in evaluation mode.
        pool: N samples.
        layers: names of the layers at which to move groups.
        read: the last layer on the pool.
        suspected: classes with two groups. A group is moved to the mean of the samples of all other
            classes, to which no trigger leads; or, if these are too few classes, of the whole pool.
    """

    def __init__(
        self,
        model: nn.Module,
        pool: Samples,
        layers: Sequence[str],
        read: LastLayer,
        suspected: Collection[int],
    ) -> None:
        self._model = model
        self._pool = pool
        others = ~torch.isin(read.predicted, torch.tensor(list(suspected)))
        # Moved to the mean of a few classes, any group would be predicted as one of these.
        if len(set(read.predicted[others].tolist())) <= read.logits.shape[1] / 2:
            others = torch.ones_like(others)
        indices = others.nonzero().flatten().tolist()
        self._rest = mean_features(model, layers, pool, indices)
        self._usual = float(certainty(read.logits).mean())

    def find(self, members: Sequence[int], upper: Tensor, predicted: int) -> Triggered | None:
        """Return the triggered group; None if neither is.

        Args:
            members: indices of the class's samples.
            upper: which members are in the second group, (n,) bool.
            predicted: the class.
        """
        seen = []
        for side in (~upper, upper):
            indices = [members[i] for i in side.nonzero().flatten().tolist()]
            seen.append(see_other_classes(self._model, self._pool, indices, predicted, self._rest))
        for values, least, ratio in (
            ([group.certainty for group in seen], MIN_CERTAINTY, MIN_CERTAINTY_RATIO),
            ([group.variety for group in seen], MIN_VARIETY, MIN_VARIETY_RATIO),
        ):
            if max(values) >= max(least * self._usual, ratio * min(values)):
                second = values[1] > values[0]
                few_classes = seen[second].variety < FEW_CLASSES * self._usual
                return Triggered(upper if second else ~upper, few_classes)
        return None
