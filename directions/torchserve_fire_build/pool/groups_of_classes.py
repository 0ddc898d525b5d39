"""The groups of each predicted class of a pool, each class by itself, by workers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from torchserve_fire.errors import FireError

from ..common.progress import Progress
from ..common.workers import Workers, results_of
from .class_groups import ClassGroups, find_class_groups
from .last_layer import LastLayer
from .methods import scoring

Features: TypeAlias = npt.NDArray[np.float32]
"""One row for each sample, (n, D)."""


@dataclass(frozen=True)
class Scoring:
    """How the samples of a class are scored.

    Attributes:
        method: a name in `pool.methods.POOL_METHODS`.
        components: number of components that Activation Clustering reduces features to.
        seed: of the random numbers.
    """

    method: str
    components: int
    seed: int


@dataclass(frozen=True)
class ClassTask:
    """The samples of one predicted class.

    Attributes:
        features: of the last layer, (n, D) float32.
        clean: those of clean samples that are predicted as the class, (m, D) float32, or None.
        scoring: how they are scored.
    """

    features: Features
    clean: Features | None
    scoring: Scoring


def groups_by_task(task: ClassTask) -> ClassGroups | str:
    """Return the groups of a class, or the message of what went wrong."""
    scoring_of = task.scoring
    try:
        return find_class_groups(
            task.features.astype(np.float64),
            None if task.clean is None else task.clean.astype(np.float64),
            scoring(scoring_of.method, scoring_of.components),
            scoring_of.seed,
        )
    except FireError as error:
        return str(error)


def find_groups_of_classes(
    read: LastLayer, known: LastLayer | None, scoring: Scoring, workers: Workers
) -> dict[int, ClassGroups]:
    """Return the groups of each predicted class of a pool, in the order of the classes.

    Args:
        read: the last layer on the pool.
        known: the last layer on clean samples; None without any.
        scoring: how samples are scored.
        workers: each takes one class after the other.

    Raises:
        FireError: the method fails, or a worker was killed again and again.
    """
    of_pool, of_clean = _ByClass(read), None if known is None else _ByClass(known)
    # The largest first, so that none of them is left over at the end.
    order = sorted(of_pool.classes, key=lambda c: -of_pool.counts[c])
    tasks = (
        ClassTask(of_pool.features(c), None if of_clean is None else of_clean.features(c), scoring)
        for c in order
    )
    groups = {}
    with Progress("comparing the samples of each class", len(order)) as progress:
        for place, found in results_of(workers, groups_by_task, tasks):
            groups[order[place]] = found
            progress.advance()
    return dict(sorted(groups.items()))


class _ByClass:
    """The last layer's features, sorted by the predicted class."""

    def __init__(self, read: LastLayer) -> None:
        predicted = read.predicted
        self._sorted = read.features.sorted_by(predicted)
        self.counts: list[int] = predicted.bincount(minlength=read.logits.shape[1]).tolist()
        self._starts = list(accumulate(self.counts, initial=0))

    @property
    def classes(self) -> list[int]:
        """The classes that were predicted."""
        return [c for c, count in enumerate(self.counts) if count]

    def features(self, predicted: int) -> Features:
        """Return those of a class, (n, D) float32."""
        rows: Features = self._sorted.between(*self._starts[predicted : predicted + 2]).numpy()
        return rows
