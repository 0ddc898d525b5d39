"""Inspecting one model on workers: method by method, and where a method allows it, class by class.

A model cannot be sent to another process, so each worker loads it. Each piece of work draws the
random numbers that it draws in one process. So what is found is that of one process to the digit,
if that has one thread, too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from torch import nn

from torchserve_fire.errors import FireError

from ..common.budget import Budget
from ..common.names import SCAN
from ..common.progress import Progress
from ..common.workers import LostWorkerError, Workers
from ..reconstruct.methods import SEARCH_METHODS
from ..reconstruct.subject import Subject, gather_subject
from ..samples.class_label import Label, label_of
from ..samples.predict import logits_of
from ..samples.samples import Samples
from ..scan.findings import Step
from ..scan.kept_steps import KeptSteps
from ..scan.scan_cache import scan_cache
from ..scan.scan_model import Done, Part, do_part
from ..source.source_files import SourceFiles, opened
from .findings import Run
from .inspect_model import note_of, run_method, with_labels
from .inspection import Inspection
from .methods import INSPECTION_METHODS, InspectionMethod, InspectionSettings
from .open_clean import open_clean
from .reconstructions import FoundOfClass, ReconstructedTriggers
from .scanning import scan_classes, scans_maps


@dataclass(frozen=True)
class InspectedFiles:
    """What each worker opens, once.

    Attributes:
        files: of the model.
        clean: clean samples; None for methods that do without.
    """

    files: SourceFiles
    clean: Path | None

    def open(self, methods: Sequence[str]) -> tuple[nn.Module, Samples, int]:
        """Return the model, the clean samples with labels, and the number of classes.

        Raises:
            FireError: the model or the samples cannot be used.
        """
        source = opened(self.files)
        model, samples = source.loaded.model, open_clean(source, self.clean, methods)
        classes = logits_of(model, samples.description.example()).shape[1]
        return model, with_labels(model, samples, classes, source.names_file), classes


@dataclass(frozen=True)
class InspectOnWorkers:
    """Has workers run methods; see `inspect_model.RunElsewhere`.

    Without a time limit, methods that search class by class are spread by class, and a scan of maps
    by its steps. With one, each method is one piece of work, and gets an equal share of the time.

    Attributes:
        workers: each loads the model once.
        inspected: what they open.
        settings: of the methods.
        budget: time limit for all methods.
        seed: of the random numbers.
    """

    workers: Workers
    inspected: InspectedFiles
    settings: InspectionSettings
    budget: Budget
    seed: int

    def __call__(
        self,
        names: Sequence[str],
        model: nn.Module,
        samples: Samples,
        classes: int,
        label: Label,
    ) -> list[Run]:
        """Run methods; one whose worker is killed again and again could not tell.

        Args:
            names: of the methods.
            model: the model, in this process.
            samples: clean samples with labels.
            classes: number of classes.
            label: says what a class is called.

        Raises:
            FireError: a sample or the model cannot be read.
        """
        limited = not math.isinf(self.budget.left())
        by_class = {} if limited else self._by_class(names, samples, classes, label)
        runs: dict[str, Run] = {}
        if SCAN in names and scans_maps(samples) and not limited:
            runs[SCAN] = self._scan((model, samples, classes), label)
        whole = [name for name in names if name not in by_class and name not in runs]
        # In so many rounds, all workers together do all of them.
        share = self.budget.left() / max(1, math.ceil(len(whole) / self.workers.at_once))
        until = time.time() + self.budget.left()
        tasks = [
            Task(self.inspected, name, self.settings, self.seed, target, share, until)
            for name in names
            if name not in runs
            for target in (range(classes) if name in by_class else (None,))
        ]
        of_class: dict[str, dict[int, ClassRun]] = {name: {} for name in by_class}
        with Progress("inspecting", len(tasks)) as progress:
            for place, done in self.workers.map(do_task, tasks):
                task = tasks[place]
                if isinstance(done, str):
                    raise FireError(done)
                found = _lost(task, done) if isinstance(done, LostWorkerError) else done
                if isinstance(found, ClassRun):
                    of_class[task.name][found.target] = found
                else:
                    runs[task.name] = found
                progress.advance()
        for name, method in by_class.items():
            runs[name] = _of_classes(method, [of_class[name][c] for c in range(classes)])
        return [runs[name] for name in names]

    def _by_class(
        self, names: Sequence[str], samples: Samples, classes: int, label: Label
    ) -> dict[str, ReconstructedTriggers]:
        """Return the methods that search each class by itself."""
        methods = [
            ReconstructedTriggers(name, self.settings.search, label)
            for name in names
            if name in SEARCH_METHODS
        ]
        return {each.method: each for each in methods if each.by_class(samples, classes)}

    def _scan(self, inspected: tuple[nn.Module, Samples, int], label: Label) -> Run:
        """Scan a model here, whose steps the workers do."""
        scan = partial(scan_classes, label=label, elsewhere=self._do_parts)
        entry = InspectionMethod(lambda settings: scan)
        return run_method(SCAN, entry, self.settings, self.seed, inspected, self.budget)

    def _do_parts(self, parts: Sequence[Part]) -> Iterator[Done]:
        """Do steps of a scan; see `scan.scan_model.DoParts`."""
        tasks = [PartTask(self.inspected, part, self.seed, self.settings.cache) for part in parts]
        done: dict[int, Done] = {}
        with Progress("scanning", len(parts)) as progress:
            for place, answer in self.workers.map(do_part_of_task, tasks):
                if isinstance(answer, str):
                    raise FireError(answer)
                if isinstance(answer, LostWorkerError):
                    answer = Done(Step(parts[place].name, 0.0, str(answer)), ())
                done[place] = answer
                progress.advance()
        yield from (done[place] for place in range(len(parts)))


@dataclass(frozen=True)
class Task:
    """A method, or what it does for one class.

    Attributes:
        inspected: what it is done with.
        name: of the method.
        settings: of the methods.
        seed: of the random numbers.
        target: the class; None for the whole method.
        seconds: that the method may take; infinite without a limit.
        until: when the time of all methods is over, by the clock of the day.
    """

    inspected: InspectedFiles
    name: str
    settings: InspectionSettings
    seed: int
    target: int | None
    seconds: float
    until: float


@dataclass(frozen=True)
class ClassRun:
    """What a method did for one class.

    Attributes:
        target: the class.
        found: what it found, or why it found nothing.
        seconds: the time it took.
    """

    target: int
    found: FoundOfClass | str
    seconds: float


def do_task(task: Task) -> Run | ClassRun | str:
    """Run a method, or search for one class's trigger; or return the message of what went wrong."""
    try:
        if task.target is not None:
            return _search_class(task, task.target)
        seconds = min(task.seconds, task.until - time.time())
        budget = Budget(None if math.isinf(seconds) else max(0.0, seconds))
        model, samples, classes = task.inspected.open((task.name,))
        label = label_of([samples], classes, opened(task.inspected.files).names_file)
        return run_method(
            task.name,
            INSPECTION_METHODS[task.name],
            replace(task.settings, label=label),
            task.seed,
            (model, samples, classes),
            budget,
        )
    except FireError as error:
        return str(error)


def _search_class(task: Task, target: int) -> ClassRun:
    """Search for one class's trigger; a search that fails is noted.

    Raises:
        FireError: a sample or the model cannot be read.
    """
    start = time.monotonic()
    method = ReconstructedTriggers(task.name, task.settings.search)
    try:
        found: FoundOfClass | str = method.of_class(
            _subject(task.inspected, task.seed), target, task.seed
        )
    except Exception as error:
        found = note_of(error)
    return ClassRun(target, found, time.monotonic() - start)


def _of_classes(method: ReconstructedTriggers, found: Sequence[ClassRun]) -> Run:
    """Compare what a method found for each class; the first class that failed speaks for it."""
    name, seconds = method.method, sum(each.seconds for each in found)
    of_class = [each.found for each in found if isinstance(each.found, FoundOfClass)]
    why_not = [each.found for each in found if isinstance(each.found, str)]
    inspection = Inspection(name, notes=(why_not[0],)) if why_not else method.of_classes(of_class)
    return Run(inspection, seconds, INSPECTION_METHODS[name].decides)


def _lost(task: Task, error: LostWorkerError) -> Run | ClassRun:
    """Return what is noted of a task whose workers were killed."""
    note = f"failed: {error}"
    if task.target is not None:
        return ClassRun(task.target, note, 0.0)
    decides = INSPECTION_METHODS[task.name].decides
    return Run(Inspection(task.name, notes=(note,)), 0.0, decides)


@dataclass(frozen=True)
class PartTask:
    """A step of a scan.

    Attributes:
        inspected: what it is done with.
        part: the step.
        seed: of the random numbers.
        cache: folder to keep finished steps in; None to keep none.
    """

    inspected: InspectedFiles
    part: Part
    seed: int
    cache: Path | None


def do_part_of_task(task: PartTask) -> Done | str:
    """Do a step of a scan, or return the message of what went wrong."""
    try:
        subject = _subject(task.inspected, task.seed)
        kept = KeptSteps(scan_cache(task.cache, subject, task.seed))
    except FireError as error:
        return str(error)
    return do_part(subject, task.part, task.seed, Budget(), 1.0, kept)


@lru_cache(maxsize=1)
def _subject(inspected: InspectedFiles, seed: int) -> Subject:
    """Draw the clean samples that searches are done with, once in a process.

    Raises:
        FireError: the model or the samples do not allow a search.
    """
    model, samples, _ = inspected.open((SCAN,))
    return gather_subject(model, samples, samples.description, seed)
