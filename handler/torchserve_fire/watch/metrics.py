"""The metrics of a worker: their names and labels.

`metrics.yaml` declares the same ones: TorchServe leaves out what is not declared there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

LABELS: Mapping[str, Sequence[str]] = {
    JUDGED: (),
    FLAGGED: (),
    REPAIRED: (),
    REJECTED: (),
    UNREPAIRED: (),
    BAD_INPUTS: ("Reason",),
    SCORES: ("Target", "le"),
    DRIFT: ("Target",),
}
"""Each metric's labels, beside ModelName, ModelVersion, Bundle, and TorchServe's own Level."""


class Metrics(Protocol):
    """Where the metrics go."""

    def add(self, counts: Mapping[Key, int]) -> None:
        """Add to counters."""
        ...

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        ...
