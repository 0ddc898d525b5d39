"""The metrics of a worker: their names and labels.

`metrics.yaml` declares the same ones: TorchServe leaves out what is not declared there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from .tally import Key

JUDGED = "FireRequestsJudged"
FLAGGED = "FireRequestsFlagged"
REPAIRED = "FireRequestsRepaired"
REJECTED = "FireRequestsRejected"
BAD_INPUTS = "FireBadInputs"
UNREPAIRED = "FireRequestsUnrepaired"
SCORES = "FireDetectorScore"
DRIFT = "FireScoreDrift"
SWAPS = "FireBundleSwaps"
SWAPS_REFUSED = "FireBundleSwapsRefused"

LABELS: Mapping[str, Sequence[str]] = {
    JUDGED: (),
    FLAGGED: (),
    REPAIRED: (),
    REJECTED: (),
    UNREPAIRED: (),
    SWAPS: (),
    SWAPS_REFUSED: (),
    BAD_INPUTS: ("Reason",),
    SCORES: ("Target", "le"),
    DRIFT: ("Target",),
}
"""Each metric's labels, beside ModelName, ModelVersion and Bundle, and what a server adds."""


class Metrics(Protocol):
    """Where the metrics of one bundle go. Several threads may report at once."""

    def add(self, counts: Mapping[Key, int]) -> None:
        """Add to counters.

        Args:
            counts: by the counter's name and the values of its own labels, in the order of
                `LABELS`.
        """
        ...

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        ...


MetricsFor = Callable[[str, str, str], Metrics]
"""Makes the metrics of a bundle: of the model's name, its version, and the bundle's digest, which
is empty where nothing is judged."""


class NoMetrics:
    """Metrics that nobody asks for."""

    def __init__(self, model: str, version: str, bundle: str) -> None:
        pass

    def add(self, counts: Mapping[Key, int]) -> None:
        """Add to counters."""

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
