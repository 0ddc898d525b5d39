"""Inspecting a fleet of archives: what is kept is not done again, and what fails stops nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from torchserve_fire.errors import FireError

from ..common.workers import LostWorkerError, Workers
from ..samples.content_digest import content_digest
from .archive_task import ArchiveResult, ArchiveTask, inspect_archive
from .fleet_findings import FleetFindings, cells_of
from .kept_results import KeptResults

logger = logging.getLogger(__name__)


def inspect_fleet(
    tasks: Sequence[ArchiveTask], workers: Workers, cache: Path | None = None
) -> FleetFindings:
    """Inspect archives, each by itself.

    Args:
        tasks: one or more.
        workers: do the tasks.
        cache: folder to keep the result of each archive in; None to keep none.
    """
    results: dict[int, ArchiveResult] = {}
    for place, result, source in _each(tasks, workers, cache):
        results[place] = result
        verdict, probability, suspects, seconds = cells_of(result)
        logger.info(
            f"{len(results)} of {len(tasks)}: {tasks[place].archive}: {verdict}, probability "
            f"{probability}, class {suspects}, {seconds} s{source}"
        )
    return FleetFindings(
        [task.archive for task in tasks], [results[place] for place in range(len(tasks))]
    )


def _each(
    tasks: Sequence[ArchiveTask], workers: Workers, cache: Path | None
) -> Iterator[tuple[int, ArchiveResult, str]]:
    """Yield each task's place and result, and in words where it comes from."""
    kept = None if cache is None else KeptResults(cache)
    digests = {} if kept is None else _digests(tasks)
    left = []
    for place in range(len(tasks)):
        known = kept.find(digests[place]) if kept is not None and place in digests else None
        if known is None:
            left.append(place)
        else:
            yield place, known, " (kept in the cache)"
    for at, found in workers.map(inspect_archive, [tasks[place] for place in left]):
        place = left[at]
        if isinstance(found, LostWorkerError):
            found = ArchiveResult(None, failure=str(found))
        elif kept is not None and place in digests:
            kept.keep(digests[place], found)
        yield place, found, ""


def _digests(tasks: Sequence[ArchiveTask]) -> dict[int, str]:
    """Return the digest of each task; what cannot be read has none, and fails by itself."""
    digests: dict[int, str] = {}
    of_clean: dict[Path | None, str] = {None: ""}
    for place, task in enumerate(tasks):
        try:
            if task.clean is not None and task.clean not in of_clean:
                of_clean[task.clean] = content_digest(task.clean)
            digests[place] = task.digest(of_clean[task.clean])
        except (OSError, FireError):
            continue
    return digests
