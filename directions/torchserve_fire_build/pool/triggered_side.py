"""Which of two groups of samples, both predicted as the same class, is triggered, if either is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..samples.samples import Samples
from .last_layer import LastLayer
from .moved_back import (
    Group,
    OtherClasses,
    SeeOtherClasses,
    certainty,
    mean_features,
    see_other_classes,
)

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
        see: runs the model on groups that are moved; None to do so here.
    """

    def __init__(
        self,
        model: nn.Module,
        pool: Samples,
        layers: Sequence[str],
        read: LastLayer,
        suspected: Collection[int],
        see: SeeOtherClasses | None = None,
    ) -> None:
        def see_here(groups: Sequence[Group], rest: Mapping[str, Tensor]) -> list[OtherClasses]:
            return [see_other_classes(model, pool, group, rest) for group in groups]

        self._see = see or see_here
        others = ~torch.isin(read.predicted, torch.tensor(list(suspected)))
        # Moved to the mean of a few classes, any group would be predicted as one of these.
        if len(set(read.predicted[others].tolist())) <= read.logits.shape[1] / 2:
            others = torch.ones_like(others)
        indices = others.nonzero().flatten().tolist()
        self._rest = mean_features(model, layers, pool, indices)
        self._usual = float(certainty(read.logits).mean())

    def find(self, classes: Mapping[int, tuple[Tensor, Tensor]]) -> dict[int, Triggered]:
        """Return the triggered group of each class that has one.

        Args:
            classes: of each predicted class the indices of its samples, (n,) int64, and which of
                these are in the second group, (n,) bool.
        """
        groups = [
            Group(members[side].tolist(), predicted)
            for predicted, (members, upper) in classes.items()
            for side in (~upper, upper)
        ]
        seen = self._see(groups, self._rest)
        found = {}
        for predicted, first, second in zip(classes, seen[::2], seen[1::2], strict=True):
            triggered = self._triggered(first, second, classes[predicted][1])
            if triggered is not None:
                found[predicted] = triggered
        return found

    def _triggered(
        self, first: OtherClasses, second: OtherClasses, upper: Tensor
    ) -> Triggered | None:
        for values, least, ratio in (
            ((first.certainty, second.certainty), MIN_CERTAINTY, MIN_CERTAINTY_RATIO),
            ((first.variety, second.variety), MIN_VARIETY, MIN_VARIETY_RATIO),
        ):
            if max(values) >= max(least * self._usual, ratio * min(values)):
                is_second = values[1] > values[0]
                variety = second.variety if is_second else first.variety
                return Triggered(
                    upper if is_second else ~upper, variety < FEW_CLASSES * self._usual
                )
        return None
