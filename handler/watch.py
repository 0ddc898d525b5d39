"""What a worker keeps of what it judged: counts, scores, their drift, and flagged inputs."""

from __future__ import annotations

import logging
import math
import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any

from . import metrics
from .bundle import Bundle
from .clean_scores import CleanScores
from .errors import InputError
from .flagged_log import FlaggedLog
from .preprocess import read_body
from .quarantine import Quarantine
from .score_drift import ScoreDrift
from .tally import Key, Tally
from .verdict import Verdict

logger = logging.getLogger(__name__)

LIMITS = (-4.0, -2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
WAITING = 64
"""Flagged inputs that may wait to be kept."""
LABELS = (*(f"{limit:g}" for limit in LIMITS), "+Inf")


class Watch:
    """Follows what one worker judges.

    Args:
        told: whom the metrics are told to.
        served_as: the model's name and version.
        bundle: what it judges by; None in mode `off`.
        mode: of the handler.
        quarantine: where flagged inputs are kept, if anywhere.
    """

    def __init__(
        self,
        told: metrics.Metrics,
        served_as: tuple[str, str],
        bundle: Bundle | None,
        mode: str,
        quarantine: Quarantine | None = None,
    ) -> None:
        self._mode = mode
        self._quarantine = quarantine
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="fire-quarantine")
        self._free = threading.Semaphore(WAITING)
        self._metrics = told
        self._tally = Tally(self._give)
        if bundle is not None:
            # A rate is told of what was there before.
            told.add({(name, ()): 0 for name, labels in metrics.LABELS.items() if not labels})
        self._log = FlaggedLog(*served_as, bundle.digest if bundle else "", mode)
        self._scales = [_Scale(*one) for one in _told_by(bundle)] if bundle else []

    def judged(
        self, verdict: Verdict, flags: Sequence[bool | None], request_ids: Mapping[int, str]
    ) -> None:
        """Take note of a batch.

        Args:
            verdict: on its samples.
            flags: what was told of each request; None of one that was not predicted.
            request_ids: TorchServe's, by the request's place in the batch.
        """
        flagged = [i for i, flag in enumerate(flags) if flag]
        self._tally.add(metrics.JUDGED, sum(flag is not None for flag in flags))
        self._tally.add(metrics.FLAGGED, len(flagged))
        if self._mode == "repair":
            self._tally.add(metrics.REPAIRED, len(flagged))
        judged_flags = [flag for flag in flags if flag is not None]
        shown: list[float | None] = [None] * len(judged_flags)
        for scale, scores in zip(self._scales, verdict.telling_scores, strict=False):
            values = scores.tolist()
            # Of several layers, the one that shows most is the one that has flagged.
            places = [scale.place(value) for value in values]
            shown = [a if b is None else max(a, b) for a, b in zip(places, shown, strict=True)]
            self._count_scores(scale, values, judged_flags)
        each = iter(shown)
        for i, flag in enumerate(flags):
            place = None if flag is None else next(each)
            if flag:
                self._log.write(request_ids.get(i, ""), place)

    def keep(self, body: Any) -> None:
        """Keep a flagged request's input, a while later, where inputs are kept.

        Whoever sends many must not slow the answers down: what comes while `WAITING` others wait
        is not kept.

        Args:
            body: as TorchServe hands it over.
        """
        if self._quarantine is not None and self._free.acquire(blocking=False):
            self._keeper.submit(self._keep, self._quarantine, body)

    def _keep(self, quarantine: Quarantine, body: Any) -> None:
        try:
            quarantine.keep(read_body(body, quarantine.description))
        except InputError:
            pass  # A handler of the user's may take what ours does not.
        except Exception:
            logger.exception("torchserve-fire: a flagged input could not be kept")
        finally:
            self._free.release()

    def refused(self, kind: str, reason: str) -> None:
        """Count a request that got no answer: a bad input by its reason, or a refusal of ours."""
        if kind == "InputError":
            self._tally.add(metrics.BAD_INPUTS, 1, reason)
        elif kind == "FlaggedInput":
            self._tally.add(metrics.REJECTED)
        else:
            self._tally.add(metrics.UNREPAIRED)

    def describe(self) -> dict[str, Any]:
        """Return what this worker has counted since it started."""
        total = self._tally.total
        return {
            "judged": total(metrics.JUDGED),
            "flagged": total(metrics.FLAGGED),
            "repaired": total(metrics.REPAIRED),
            "rejected": total(metrics.REJECTED),
            "unrepaired": total(metrics.UNREPAIRED),
            "bad_inputs": self._tally.by_label(metrics.BAD_INPUTS),
            "drift": {scale.target: scale.drift.surprise for scale in self._scales},
        }

    def _count_scores(self, scale: _Scale, values: Sequence[float], flags: Sequence[bool]) -> None:
        counts = [0] * len(LABELS)
        for value in values:
            counts[scale.bin(value)] += 1
        for label, count in zip(LABELS, accumulate(counts), strict=True):
            self._tally.add(metrics.SCORES, count, scale.target, label)
        clean = [value for value, flag in zip(values, flags, strict=True) if not flag]
        if scale.drift.add(clean) and scale.drift.surprise is not None:
            self._metrics.set(metrics.DRIFT, round(scale.drift.surprise, 2), scale.target)

    def _give(self, counts: Mapping[Key, int]) -> None:
        self._metrics.add(counts)
        if self._quarantine is not None:
            self._quarantine.prune()


class _Scale:
    """The scores of one telling layer on a scale that is the same for all models.

    Args:
        target: the class that its trigger leads to.
        threshold: a score above it is flagged.
        clean: the spread of the clean calibration samples' scores.
    """

    def __init__(self, target: int, threshold: float, clean: CleanScores) -> None:
        self.target = str(target)
        self.drift = ScoreDrift(clean)
        self._threshold = threshold
        self._unit = (clean.deciles[-1] - clean.deciles[0]) or 1.0

    def place(self, score: float) -> float:
        """Return a score's place: 0 at the threshold, 1 beyond it by the clean ones' spread."""
        return (score - self._threshold) / self._unit

    def bin(self, score: float) -> int:
        """Return the index in `LABELS` of the first limit that a score does not exceed."""
        return bisect_left(LIMITS, self.place(score)) if math.isfinite(score) else len(LIMITS)


def _told_by(bundle: Bundle) -> list[tuple[int, float, CleanScores]]:
    """Return target, threshold and clean scores of each telling layer, where all have these."""
    told = []
    for layer in bundle.telling_layers:
        if layer.telling is None or layer.telling.clean_scores is None:
            return []
        target = bundle.target if layer.target is None else layer.target
        told.append((target, layer.telling.threshold, layer.telling.clean_scores))
    return told
