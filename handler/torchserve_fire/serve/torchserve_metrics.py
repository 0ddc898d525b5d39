"""Reports a worker's metrics to TorchServe, whose metrics endpoint gives them to Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes

from ..watch.metrics import LABELS
from ..watch.tally import Key

logger = logging.getLogger(__name__)


class TorchServeMetrics:
    """The metrics of one worker.

    Args:
        cache: `context.metrics`.
        model: the model's name.
        version: its version.
        bundle: its bundle's digest, empty without one.
    """

    def __init__(self, cache: Any, model: str, version: str, bundle: str) -> None:
        self._cache = cache
        self._common = {"ModelName": model, "ModelVersion": version, "Bundle": bundle or "none"}

    def add(self, counts: Mapping[Key, int]) -> None:
        """Add to counters."""
        for (name, labels), value in counts.items():
            self._report(name, value, labels, MetricTypes.COUNTER)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._report(name, value, labels, MetricTypes.GAUGE)

    def _report(
        self, name: str, value: float, labels: Sequence[str], metric_type: MetricTypes
    ) -> None:
        named = self._common | dict(zip(LABELS[name], labels, strict=True))
        dimensions = [Dimension(*pair) for pair in named.items()]
        try:
            self._cache.add_metric(
                name, value, "count", dimensions=dimensions, metric_type=metric_type
            )
        except Exception:
            # No request fails, and no repair stops, because a metric cannot be reported.
            logger.exception("torchserve-fire: the metric %s could not be reported", name)
