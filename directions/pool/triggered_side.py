"""Which of two groups of samples, predicted as the same class, is triggered, if either."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from ..samples import Samples
from .last_layer import LastLayer
from .moved_back import certainty, certainty_of_other_classes, mean_features

MIN_CERTAINTY = 0.6
"""Of the model's usual certainty: how surely it sees other classes in a triggered group that is
moved to where the others are, at least. On development images of the benchmark's victims,
triggered groups come to .69 and more."""

MIN_RATIO = 1.25
"""Of how surely other classes are seen in the triggered group, to how surely in the other; of the
same, 1.4 and more."""


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
            seen.append(
                certainty_of_other_classes(self._model, self._pool, indices, predicted, self._rest)
            )
        if max(seen) < max(MIN_CERTAINTY * self._usual, MIN_RATIO * min(seen)):
            return None
        return upper if seen[1] > seen[0] else ~upper
