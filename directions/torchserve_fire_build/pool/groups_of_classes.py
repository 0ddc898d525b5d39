"""The groups of each predicted class of a pool, each class by itself, by workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias, overload

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
    tasks = _ClassTasks(read, known, scoring)
    groups = {}
    with Progress("comparing the samples of each class", len(tasks)) as progress:
        for place, found in results_of(workers, groups_by_task, tasks):
            groups[tasks.classes[place]] = found
            progress.advance()
    return dict(sorted(groups.items()))


class _ClassTasks(Sequence[ClassTask]):
    """The tasks, of which each is made when it is asked for: features of all take much memory.

    Those of the largest classes come first, so that none of them is left over at the end.
    """

    def __init__(self, read: LastLayer, known: LastLayer | None, scoring: Scoring) -> None:
        self._of_pool = _ByClass(read)
        self._of_clean = None if known is None else _ByClass(known)
        self._scoring = scoring
        counts = self._of_pool.counts
        order = sorted(range(len(counts)), key=lambda c: -counts[c])
        self.classes = [c for c in order if counts[c]]

    def __len__(self) -> int:
        return len(self.classes)

    @overload
    def __getitem__(self, index: int) -> ClassTask: ...

    @overload
    def __getitem__(self, index: slice) -> list[ClassTask]: ...

    def __getitem__(self, index: int | slice) -> ClassTask | list[ClassTask]:
        """Return a task, or those of a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        predicted, clean = self.classes[index], self._of_clean
        return ClassTask(
            self._of_pool.features(predicted),
            None if clean is None else clean.features(predicted),
            self._scoring,
        )


class _ByClass:
    """The last layer's features, sorted by the predicted class."""

    def __init__(self, read: LastLayer) -> None:
        predicted = read.predicted
        self._sorted = read.features.sorted_by(predicted)
        self.counts: list[int] = predicted.bincount(minlength=read.logits.shape[1]).tolist()
        self._starts = list(accumulate(self.counts, initial=0))

    def features(self, predicted: int) -> Features:
        """Return those of a class, (n, D) float32."""
        rows: Features = self._sorted.between(*self._starts[predicted : predicted + 2]).numpy()
        return rows
