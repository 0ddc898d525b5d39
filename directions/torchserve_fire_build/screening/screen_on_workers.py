"""What of screening is done by workers: all passes of the model over the samples, chunk by chunk.

A model cannot be sent to another process, so each worker loads it. A chunk is whole batches of one
process. So the results are those of one process to the bit, if that has one thread, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import nn

from torchserve_fire.errors import FireError, ModelError
from torchserve_fire.format.bundle import Bundle, InputDescription
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.repair.layers import device_of

from ..common.progress import Progress
from ..common.workers import Workers, results_of
from ..samples.fitting_batches import GPU_BATCH
from ..samples.samples import batch_of
from ..source.archive import bundle_of
from ..source.source_files import SourceFiles, opened
from .bundle_screening import SampleVerdict, read_verdicts
from .feature_file import FeatureFile
from .features import Features, features_by_batch, join_features

CHUNK = 512
"""The most samples of a chunk, which is what a worker that is killed loses."""


@dataclass(frozen=True)
class ScreenOnWorkers:
    """Has workers run a model on samples.

    Attributes:
        workers: each loads the model once.
        files: of the model.
        chunk: samples of a chunk; see `chunk_of`.
    """

    workers: Workers
    files: SourceFiles
    chunk: int

    def features(
        self, paths: Sequence[Path], layers: Sequence[str], progress: Progress
    ) -> FeatureFile:
        """Read features, as `screen_samples` does in one process.

        Args:
            paths: of the samples.
            layers: module names.
            progress: advanced by the number of samples.

        Raises:
            FireError: the model fails on the samples, a feature is not finite, a sample or the
                model cannot be read, or a worker was killed again and again.
        """
        tasks = (FeatureTask(self.files, part, tuple(layers)) for part in self._parts(paths))
        found = results_of(self.workers, features_by_task, tasks)
        return FeatureFile.written(
            ((self.chunk * place, features) for place, features in found), progress
        )

    def verdicts(
        self, paths: Sequence[Path], by: BundleFile, progress: Progress
    ) -> list[SampleVerdict]:
        """Have a bundle judge samples, as `screen_with_bundle` does in one process.

        Args:
            paths: of the samples.
            by: the bundle.
            progress: advanced by twice the number of samples: the model runs on each twice.

        Raises:
            FireError: as `features`, or the bundle does not fit the model.
        """
        tasks = (VerdictTask(self.files, part, by) for part in self._parts(paths))
        read: dict[int, list[SampleVerdict]] = {}
        for place, verdicts in results_of(self.workers, verdicts_by_task, tasks):
            read[place] = verdicts
            progress.advance(2 * len(verdicts))
        return [verdict for place in sorted(read) for verdict in read[place]]

    def _parts(self, paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
        for start in range(0, len(paths), self.chunk):
            yield paths[start : start + self.chunk]


def chunk_of(model: nn.Module, description: InputDescription) -> int:
    """Return the samples of a chunk: whole batches of one process.

    Args:
        model: on the device that each worker has one of, too.
        description: what it takes.
    """
    batch = batch_of(description) if device_of(model).type == "cpu" else GPU_BATCH
    return CHUNK // batch * batch


@dataclass(frozen=True)
class FeatureTask:
    """Some samples, and the layers at which their features are read.

    Attributes:
        files: of the model.
        paths: of the samples.
        layers: module names.
    """

    files: SourceFiles
    paths: Sequence[Path]
    layers: tuple[str, ...]


def features_by_task(task: FeatureTask) -> Features | str:
    """Return the features of a chunk, or the message of what went wrong."""
    try:
        source = opened(task.files)
        samples = source.open_files(task.paths)
        return join_features(list(features_by_batch(source.loaded.model, samples, task.layers)))
    except FireError as error:
        return str(error)


@dataclass(frozen=True)
class BundleFile:
    """A bundle, as any process finds it.

    Attributes:
        file: where it lies; None for the one in the model's archive.
        allow_other_weights: as `screen_with_bundle` takes it.
    """

    file: Path | None
    allow_other_weights: bool


@dataclass(frozen=True)
class VerdictTask:
    """Some samples, and the bundle that judges them.

    Attributes:
        files: of the model.
        paths: of the samples.
        by: the bundle.
    """

    files: SourceFiles
    paths: Sequence[Path]
    by: BundleFile


def verdicts_by_task(task: VerdictTask) -> list[SampleVerdict] | str:
    """Return the verdicts on a chunk, or the message of what went wrong."""
    try:
        source = opened(task.files)
        samples = source.open_files(task.paths)
        bundle = _bundle(task.files, task.by)
        with Progress("screening", 2 * len(samples)) as progress:
            return read_verdicts(
                source.loaded.model,
                bundle,
                samples,
                progress,
                allow_other_weights=task.by.allow_other_weights,
            )
    except FireError as error:
        return str(error)


@lru_cache(maxsize=1)
def _bundle(files: SourceFiles, by: BundleFile) -> Bundle:
    """Load a bundle, once in a process.

    Raises:
        FireError: it cannot be read.
    """
    file = by.file or bundle_of(opened(files))
    if file is None:
        raise ModelError(f"{files.archive}: holds no direction bundle any more")
    return load_bundle(file)
