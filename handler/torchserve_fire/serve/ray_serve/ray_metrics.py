"""Metrics of a replica, by Ray's own metrics, which each node gives to Prometheus.

Ray writes names small, and `ray_` before them; docs/monitoring/prometheus-ray.yaml has Prometheus
give them their names back. All are gauges, also what only grows: to the names of counters Ray
appends `_total`, and it shows none that is 0.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from ray.serve.metrics import Gauge

from ...watch.metrics import COMMON, HELP, LABELS, MetricsFor
from ...watch.tally import Key


def ray_metrics() -> MetricsFor:
    """Return what `open_model(metrics=...)` takes; to be called in a replica."""
    gauges = {
        name: Gauge(name, HELP[name], tag_keys=(*COMMON, *labels))
        for name, labels in LABELS.items()
    }
    sums = Sums()
    return lambda *of: RayMetrics(gauges, sums, (of[0], of[1], of[2] or "none"))


class Sums:
    """What was counted since the replica started; several threads may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: Counter[tuple[tuple[str, ...], Key]] = Counter()

    def add(self, common: tuple[str, ...], key: Key, value: int) -> int:
        """Add to one, and return it."""
        with self._lock:
            self._sums[common, key] += value
            return self._sums[common, key]


class RayMetrics:
    """The metrics of one bundle in one replica.

    Args:
        gauges: by their names.
        sums: of all bundles: one that comes back counts on.
        common: the values of `COMMON`.
    """

    def __init__(
        self, gauges: Mapping[str, Gauge], sums: Sums, common: tuple[str, str, str]
    ) -> None:
        self._gauges = gauges
        self._sums = sums
        self._common = common

    def add(self, counts: Mapping[Key, int]) -> None:
        """Add to counters."""
        for key, value in counts.items():
            name, labels = key
            self.set(name, self._sums.add(self._common, key, value), *labels)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        names = (*COMMON, *LABELS[name])
        tags = dict(zip(names, (*self._common, *labels), strict=True))
        self._gauges[name].set(value, tags=tags)
