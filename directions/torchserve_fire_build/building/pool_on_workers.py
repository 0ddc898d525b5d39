"""What of a build from a pool of files is done by workers: all passes over the whole pool.

They compare the groups of each class, too (`pool.groups_of_classes`), and move them.

A model cannot be sent to another process, so each worker loads it. A chunk of the reading, and a
fold of the statistics, is done by one worker, in the batches and in the order of one process. So
the results are those of one process to the bit, if that has one thread, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from torchserve_fire.errors import FireError

from ..common.progress import Progress
from ..common.workers import Workers, results_of
from ..estimate.layer_statistics import statistics_of_fold
from ..pool.last_layer import LastLayer
from ..pool.moved_back import Group, OtherClasses, see_other_classes
from ..pool.read_in_chunks import read_in_chunks
from ..samples.both import Both
from ..samples.evidence import Evidence
from ..samples.folds import FOLDS
from ..source.source_files import SourceFiles, opened


@dataclass(frozen=True)
class PoolOnWorkers:
    """Has workers run a model on a pool.

    Attributes:
        workers: each loads the model once.
        files: of the model.
        paths: of the pool's samples.
    """

    workers: Workers
    files: SourceFiles
    paths: Sequence[Path]

    def read(self, otherwise: str, progress: Progress) -> LastLayer:
        """Read the last layer on the pool; see `pool.read_in_chunks`."""
        return read_in_chunks(self.workers, self.files, self.paths, otherwise, progress)

    def folds(
        self,
        rows: Both[Sequence[int]],
        layers: Sequence[str],
        folds: Both[Tensor],
        clean_targets: Sequence[Tensor],
        uses: Sequence[Tensor],
    ) -> dict[int, dict[str, Tensor]]:
        """Return what `statistics_of_fold` returns for each fold.

        Args:
            rows: indices in the pool, of the clean (N,) and of the triggered samples (M,).
            layers: module names.
            folds: the fold of each, (N,) and (M,) int64.
            clean_targets: for each trigger, (N,) bool.
            uses: for each trigger, (M,) bool.

        Raises:
            FireError: a sample or the model cannot be read, or a worker was killed again and again.
        """
        tasks = []
        for fold in range(FOLDS):
            clean, triggered = (of_group == fold for of_group in folds)
            paths = Both(self._paths(rows.clean, clean), self._paths(rows.triggered, triggered))
            tasks.append(
                FoldTask(
                    self.files,
                    paths,
                    tuple(layers),
                    tuple(target[clean] for target in clean_targets),
                    tuple(use[triggered] for use in uses),
                )
            )
        return dict(results_of(self.workers, statistics_by_task, tasks))

    def see(self, groups: Sequence[Group], rest: Mapping[str, Tensor]) -> list[OtherClasses]:
        """Return what `pool.moved_back.see_other_classes` returns for each group.

        Args:
            groups: of samples of the pool.
            rest: mean features to move the groups to, by layer.

        Raises:
            FireError: a sample or the model cannot be read, or a worker was killed again and again.
        """
        tasks = (
            GroupTask(
                self.files,
                tuple(self.paths[i] for i in group.indices),
                group.predicted,
                rest,
            )
            for group in groups
        )
        seen = dict(results_of(self.workers, see_by_task, tasks))
        return [seen[place] for place in range(len(groups))]

    def _paths(self, rows: Sequence[int], which: Tensor) -> tuple[Path, ...]:
        return tuple(self.paths[rows[i]] for i in which.nonzero().flatten().tolist())


@dataclass(frozen=True)
class FoldTask:
    """The samples of one fold, unpaired, and what is computed of them.

    Attributes:
        files: of the model.
        paths: of the clean (n,) and of the triggered samples (m,).
        layers: module names.
        clean_targets: for each trigger, (n,) bool.
        uses: for each trigger, (m,) bool.
    """

    files: SourceFiles
    paths: Both[tuple[Path, ...]]
    layers: tuple[str, ...]
    clean_targets: tuple[Tensor, ...]
    uses: tuple[Tensor, ...]


def statistics_by_task(task: FoldTask) -> dict[str, Tensor] | str:
    """Return the statistics of a fold, or the message of what went wrong."""
    try:
        source = opened(task.files)
        samples = task.paths.map(source.open_files)
        return statistics_of_fold(
            source.loaded.model,
            task.layers,
            Evidence(samples.clean, samples.triggered, []),
            samples.map(lambda group: torch.zeros(len(group), dtype=torch.int64)),
            0,
            clean_targets=task.clean_targets,
            uses=task.uses,
        )
    except FireError as error:
        return str(error)


@dataclass(frozen=True)
class GroupTask:
    """The samples of a group that is moved.

    Attributes:
        files: of the model.
        paths: of the samples.
        predicted: the class that the model predicts for all of them.
        rest: mean features to move them to, by layer.
    """

    files: SourceFiles
    paths: tuple[Path, ...]
    predicted: int
    rest: Mapping[str, Tensor]


def see_by_task(task: GroupTask) -> OtherClasses | str:
    """Return what other classes a group shows, or the message of what went wrong."""
    try:
        source = opened(task.files)
        samples = source.open_files(task.paths)
        group = Group(range(len(samples)), task.predicted)
        return see_other_classes(source.loaded.model, samples, group, task.rest)
    except FireError as error:
        return str(error)
