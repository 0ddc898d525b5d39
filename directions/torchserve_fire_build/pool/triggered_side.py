"""Which of two groups of samples, predicted as the same class, is triggered, if either."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from ..samples.samples import Samples
from .last_layer import LastLayer
from .moved_back import certainty, mean_features, see_other_classes

MIN_CERTAINTY = 0.6
"""Of the model's usual certainty: how surely it sees other classes in a triggered group that is
moved to where the others are, at least."""

MIN_CERTAINTY_RATIO = 1.25
"""Of how surely other classes are seen in the triggered group, to how surely in the other."""

MIN_VARIETY = 0.35
"""Likewise, where this is spread over most classes, as it is unless a trigger was put on a few."""

MIN_VARIETY_RATIO = 1.4
"""On development images of the benchmark's victims, triggered groups come to 1.49 and more; by
certainty alone, some to less than it asks for."""


class TriggeredSide:
    """Judges two groups by what the model sees in them once they are moved (`moved_back`).

    Args:
        model: in evaluation mode.
        pool: N samples.
        layers: names of the layers at which to move groups.
        read: of the pool.
        suspected: classes with two groups; a group is moved to where the samples of the other
            classes are, to which no trigger leads. Where these are few, it is the whole pool.
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
        # Moved to where a few classes are, any group would be called one of these.
        if len(set(read.predicted[others].tolist())) <= read.logits.shape[1] / 2:
            others = torch.ones_like(others)
        indices = others.nonzero().flatten().tolist()
        self._rest = mean_features(model, layers, pool, indices)
        self._usual = float(certainty(read.logits).mean())

    def find(self, members: Sequence[int], upper: Tensor, predicted: int) -> Tensor | None:
        """Return which members are triggered, (n,) bool, or None where neither group is.

        Args:
            members: indices of the class's samples.
            upper: which of them are in the second group, (n,) bool.
            predicted: the class.
        """
        seen = []
        for side in (~upper, upper):
            indices = [members[i] for i in side.nonzero().flatten().tolist()]
            seen.append(see_other_classes(self._model, self._pool, indices, predicted, self._rest))
        for values, least, ratio in (
            ([each.certainty for each in seen], MIN_CERTAINTY, MIN_CERTAINTY_RATIO),
            ([each.variety for each in seen], MIN_VARIETY, MIN_VARIETY_RATIO),
        ):
            if max(values) >= max(least * self._usual, ratio * min(values)):
                return upper if values[1] > values[0] else ~upper
        return None
