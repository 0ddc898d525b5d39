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
"""Each metric's own labels, beside `COMMON` and what a server adds."""

COMMON = ("ModelName", "ModelVersion", "Bundle")
"""The labels that each metric has."""

HELP: Mapping[str, str] = {
    "FireRequestsJudged": "Requests whose samples went through the detecting layer",
    "FireRequestsFlagged": "Judged requests that were found to hold a trigger",
    "FireRequestsRepaired": "Flagged requests that were answered with their features moved back",
    "FireRequestsRejected": "Flagged requests that were refused with 422",
    "FireRequestsUnrepaired": "Requests refused with 500: not known whether they were repaired",
    "FireBundleSwaps": "How often this bundle took the place of another one",
    "FireBundleSwapsRefused": "Bundles that were to take the place of this one, and were refused",
    "FireBadInputs": "Requests refused with a 4xx, by reason",
    "FireDetectorScore": "Judged requests whose detector score is at most le, by target",
    "FireScoreDrift": "-log10 of the probability that clean scores differ by chance as they do",
}


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
