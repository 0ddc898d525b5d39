"""What a worker keeps of what it judged: counts, scores, their drift, and flagged inputs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from torch import Tensor

from ..format.bundle import Bundle
from ..model.request_body import RequestBody
from ..repair.verdict import Verdict
from . import metrics as metric
from .flagged_log import FlaggedLog
from .metrics import Metrics
from .quarantine_queue import QuarantineQueue
from .score_scale import LABELS, ScoreScale, bin_of, scales_of
from .tally import Key, Tally

logger = logging.getLogger(__name__)


class Watch:
    """Follows what one worker judges by one bundle. Several threads may judge at once.

    Args:
        metrics: where counts and gauges go.
        served_as: the model's name and version.
        bundle: what it judges by; None in mode `off`.
        mode: of the handler.
        quarantine: where flagged inputs are kept, if anywhere.
    """

    def __init__(
        self,
        metrics: Metrics,
        served_as: tuple[str, str],
        bundle: Bundle | None,
        mode: str,
        quarantine: QuarantineQueue | None = None,
    ) -> None:
        self._mode = mode
        self._quarantine = quarantine
        self._metrics = metrics
        self._tally = Tally(self._give)
        if bundle is not None:
            # A rate is only known of a counter that was there before.
            metrics.add({(name, ()): 0 for name, labels in metric.LABELS.items() if not labels})
        self._log = FlaggedLog(*served_as, bundle.digest if bundle else "", mode)
        self._scales = scales_of(bundle) if bundle else []

    def judged(
        self, verdict: Verdict, flags: Sequence[bool | None], request_ids: Mapping[int, str]
    ) -> None:
        """Take note of a batch.

        Args:
            verdict: on its samples.
            flags: of each request, whether it was flagged; None of one that was not predicted.
            request_ids: the server's, by the request's place in the batch.
        """
        flagged = [i for i, flag in enumerate(flags) if flag]
        self._tally.add(metric.JUDGED, sum(flag is not None for flag in flags))
        self._tally.add(metric.FLAGGED, len(flagged))
        if self._mode == "repair":
            self._tally.add(metric.REPAIRED, len(flagged))
        judged_flags = [flag for flag in flags if flag is not None]
        shown: list[float | None] = [None] * len(judged_flags)
        for scale, scores in zip(self._scales, verdict.detector_scores, strict=False):
            values = scores.tolist()
            # Of several layers, the one that shows most is the one that has flagged.
            places = [scale.place(value) for value in values]
            shown = [a if b is None else max(a, b) for a, b in zip(places, shown, strict=True)]
            self._count_places(scale, places)
            self._follow_drift(scale, values, judged_flags)
        each = iter(shown)
        for i, flag in enumerate(flags):
            place = None if flag is None else next(each)
            if flag:
                self._log.write(request_ids.get(i, ""), place)

    def keep(self, read: Callable[[], Tensor | RequestBody]) -> None:
        """Keep a flagged request's input, a while later, where inputs are kept.

        Args:
            read: as `QuarantineQueue.put` takes it.
        """
        if self._quarantine is not None:
            self._quarantine.put(read)

    def refused(self, kind: str, reason: str) -> None:
        """Count a request that got no answer: a bad input by its reason, or a refusal of ours."""
        if kind == "InputError":
            self._tally.add(metric.BAD_INPUTS, 1, reason)
        elif kind == "FlaggedInput":
            self._tally.add(metric.REJECTED)
        else:
            self._tally.add(metric.UNREPAIRED)

    def swapped(self) -> None:
        """Count that this bundle took the place of another one."""
        self._tally.add(metric.SWAPS)

    def swap_refused(self) -> None:
        """Count a bundle that was not put in the place of this one."""
        self._tally.add(metric.SWAPS_REFUSED)

    def describe(self) -> dict[str, Any]:
        """Return what was counted since the bundle serves."""
        total = self._tally.total
        return {
            "judged": total(metric.JUDGED),
            "flagged": total(metric.FLAGGED),
            "repaired": total(metric.REPAIRED),
            "rejected": total(metric.REJECTED),
            "unrepaired": total(metric.UNREPAIRED),
            "bad_inputs": self._tally.by_label(metric.BAD_INPUTS),
            "drift": {scale.target: self._drift_of(scale.target) for scale in self._scales},
        }

    def flush(self) -> None:
        """Give what was counted to the metrics now, and not a while later."""
        self._tally.flush()

    def _count_places(self, scale: ScoreScale, places: Sequence[float]) -> None:
        counts = [0] * len(LABELS)
        for place in places:
            counts[bin_of(place)] += 1
        for label, count in zip(LABELS, accumulate(counts), strict=True):
            self._tally.add(metric.SCORES, count, scale.target, label)

    def _follow_drift(
        self, scale: ScoreScale, values: Sequence[float], flags: Sequence[bool]
    ) -> None:
        clean = [value for value, flag in zip(values, flags, strict=True) if not flag]
        if scale.drift.add(clean) and (drift := self._drift_of(scale.target)) is not None:
            value = round(drift, 2)
            self._report(lambda: self._metrics.set(metric.DRIFT, value, scale.target))

    def _drift_of(self, target: str) -> float | None:
        """Return the largest drift of the detectors for a target; None before the first."""
        drifts = [scale.drift.surprise for scale in self._scales if scale.target == target]
        return max((drift for drift in drifts if drift is not None), default=None)

    def _give(self, counts: Mapping[Key, int]) -> None:
        self._report(lambda: self._metrics.add(counts))
        if self._quarantine is not None:
            self._quarantine.prune()

    def _report(self, give: Callable[[], None]) -> None:
        """Give something to the metrics: no request, swap or close fails because they fail."""
        try:
            give()
        except Exception:
            logger.exception("torchserve-fire: metrics could not be reported")
