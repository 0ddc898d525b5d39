"""Measuring all defences on one model, draw by draw; what is finished is kept."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..common.code_digest import describe_code
from ..common.duration import about
from ..common.step_cache import NO_CACHE, StepCache
from ..samples.describe_model import TRIED, describe_model
from ..samples.samples import Samples
from .measure_defence import DefenceFailed, measure_defence
from .outcome import Outcome
from .parts import draw, draw_size
from .plan import Sizes, expected_seconds
from .sample_digests import sample_digests
from .subject import Subject

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What the user decides.

    Attributes:
        defences: names, in the order of the table.
        draws: draws of the calibration samples.
        calibration: triggered samples of a draw; None for as many as `draw_size` says.
        seed: of the first draw; each further one has the next.
        cache: folder to keep finished measurements in; None to keep none.
    """

    defences: Sequence[str]
    draws: int
    calibration: int | None = None
    seed: int = 0
    cache: Path | None = None


Outcomes = Mapping[str, Sequence[Outcome]]
"""By defence, what came of each draw."""


def compare(subject: Subject, options: Options) -> Outcomes:
    """Build each defence from each draw, and measure it on the test samples.

    What fails is an outcome, too, and all others go on.

    Args:
        subject: the model and the samples.
        options: what the user decides.

    Raises:
        FireError: there are too few samples for a draw, or the model's weights have no digest.
    """
    count = draw_size(subject.calibration, options.calibration)
    cache = cache_of(subject, count, options.cache)
    seeds = [options.seed + i for i in range(options.draws)]
    found: dict[tuple[str, int], Outcome] = {}
    missing = []
    for seed in seeds:
        for name in options.defences:
            kept = cache.kept(_step(name, seed))
            if kept is None:
                missing.append((name, seed))
            else:
                found[name, seed] = Outcome.restored(kept)
    if found:
        logger.info("cache: %s: holds %s of the measurements", options.cache, len(found))
    clock = _Clock(subject, count)
    if missing:
        logger.info(
            "measuring %s defences from each of %s draw%s: %s on this machine",
            len(options.defences),
            options.draws,
            "s" if options.draws > 1 else "",
            about(clock.left(missing)),
        )
    for i, (name, seed) in enumerate(missing):
        start = time.monotonic()
        drawn = draw(subject.calibration, count, seed)
        try:
            outcome = measure_defence(name, subject, drawn, seed)
        except DefenceFailed as error:
            outcome = Outcome(failed=str(error))
        else:
            cache.keep(_step(name, seed), outcome.stored())
        found[name, seed] = outcome
        seconds = time.monotonic() - start
        clock.taken(name, seconds)
        rest = missing[i + 1 :]
        logger.info(
            "%s, draw %s: %s; %s of %s done%s",
            name,
            seed - options.seed + 1,
            outcome.shown(),
            i + 1,
            len(missing),
            f", {about(clock.left(rest))} left" if rest else "",
        )
    return {name: [found[name, seed] for seed in seeds] for name in options.defences}


def sizes_of(subject: Subject, count: int) -> Sizes:
    """Return how many samples each defence works on, where a draw takes `count` triggered ones."""
    drawn = draw(subject.calibration, count, 0)
    test = subject.test.evidence
    return Sizes(
        sum(map(len, drawn.both)), len(subject.calibration.clean), sum(map(len, test.both))
    )


def cache_of(subject: Subject, count: int, folder: Path | None) -> StepCache:
    """Return where measurements are kept: of the same model, samples, settings and code.

    Raises:
        FireError: the model's weights have no digest.
    """
    if folder is None:
        return NO_CACHE
    calibration, test = subject.calibration, subject.test.evidence
    said = {
        **describe_code(),
        "model": describe_model(
            subject.model, [samples.load(range(min(TRIED, len(samples)))) for samples in test.both]
        ),
        "samples": [
            _described(samples) for evidence in (calibration, test) for samples in evidence.both
        ],
        "partners": [list(calibration.partners), list(test.partners)],
        "targets": [subject.targets, subject.single],
        "calibration": count,
    }
    text = json.dumps(said, sort_keys=True)
    return StepCache(folder, hashlib.sha256(text.encode()).hexdigest())


def _described(samples: Samples) -> dict[str, object]:
    return {
        "content": sample_digests(samples),
        "names": list(samples.names),
        "labels": None if samples.labels is None else samples.labels.tolist(),
        "input": asdict(samples.description),
    }


def _step(name: str, seed: int) -> str:
    return f"{name}, seed {seed}"


class _Clock:
    """Says how long the rest takes: by what a defence took before, else by the plan."""

    def __init__(self, subject: Subject, count: int) -> None:
        self._sizes, self._pass_seconds = sizes_of(subject, count), subject.pass_seconds
        self._seconds: dict[str, float] = {}

    def taken(self, name: str, seconds: float) -> None:
        self._seconds[name] = seconds

    def left(self, steps: Sequence[tuple[str, int]]) -> float:
        return sum(
            self._seconds[name]
            if name in self._seconds
            else expected_seconds(name, self._sizes, self._pass_seconds)
            for name, _ in steps
        )
