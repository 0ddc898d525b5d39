"""Detection scores on a scale that is the same for all models and layers."""

from __future__ import annotations

import math
from bisect import bisect_left

from ..format.bundle import INPUT_LAYER, Bundle
from ..format.clean_scores import CleanScores
from .score_drift import ScoreDrift

LIMITS = (-4.0, -2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
LABELS = (*(f"{limit:g}" for limit in LIMITS), "+Inf")
"""Of the bins of a histogram, as Prometheus calls them."""


def bin_of(place: float) -> int:
    """Return the index in `LABELS` of the first limit that a place does not exceed.

    A place that is not finite is in the last bin.
    """
    return bisect_left(LIMITS, place) if math.isfinite(place) else len(LIMITS)


class ScoreScale:
    """The scores of one detecting layer on a scale that is the same for all models.

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
        """Return a score's place: 0 at the threshold, 1 above it by the spread of clean scores."""
        return (score - self._threshold) / self._unit


def scales_of(bundle: Bundle) -> list[ScoreScale]:
    """Return a scale for each detecting layer, or none where not all know their clean scores.

    The model's input has none, as in `Verdict.detector_scores`.
    """
    scales = []
    for layer in bundle.detecting_layers:
        if layer.name == INPUT_LAYER:
            continue
        if layer.detection is None or layer.detection.clean_scores is None:
            return []
        target = bundle.target if layer.target is None else layer.target
        scales.append(ScoreScale(target, layer.detection.threshold, layer.detection.clean_scores))
    return scales
