"""Metrics for Prometheus from a server of one's own, by the package `prometheus_client`.

The names and labels are those of TorchServe's metrics endpoint, so the same dashboard and alert
rules do. All are gauges there, also what only grows: `prometheus_client` appends `_total` to the
names of counters, under which nobody would find them. Prometheus itself makes no difference.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from .metrics import COMMON, DRIFT, HELP, LABELS, MetricsFor
from .tally import Key


def prometheus_metrics(registry: CollectorRegistry = REGISTRY) -> MetricsFor:
    """Return what `open_model(metrics=...)` takes, so that a registry shows the counts.

    Several models, and several calls, may share a registry. With prometheus_client's mode for
    several processes, counts are added up over processes, and of a drift the largest is shown.

    Args:
        registry: of `prometheus_client`; the one that its `start_http_server` shows unless another
            is named.

    Example:
        >>> start_http_server(9000, "127.0.0.1")
        >>> model = open_model("net-1.0.mar", metrics=prometheus_metrics())
    """
    gauges = _gauges(registry)
    return lambda model, version, bundle: PrometheusMetrics(
        gauges, (model, version, bundle or "none")
    )


class PrometheusMetrics:
    """The metrics of one bundle.

    Args:
        gauges: by their names.
        common: the values of `COMMON`.
    """

    def __init__(self, gauges: Mapping[str, Gauge], common: tuple[str, str, str]) -> None:
        self._gauges = gauges
        self._common = common

    def add(self, counts: Mapping[Key, int]) -> None:
        """Add to counters."""
        for (name, labels), value in counts.items():
            self._gauges[name].labels(*self._common, *labels).inc(value)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._gauges[name].labels(*self._common, *labels).set(value)


@functools.cache
def _gauges(registry: CollectorRegistry) -> Mapping[str, Gauge]:
    """Return the metrics of a registry, which takes each name once."""
    return {
        name: Gauge(
            name,
            HELP[name],
            (*COMMON, *labels),
            registry=registry,
            multiprocess_mode="livemax" if name == DRIFT else "sum",
        )
        for name, labels in LABELS.items()
    }
