"""Whether the scores of requests are still spread as those of the clean calibration samples.

Where they are not, the threshold, which was chosen on these samples, fits less well: requests of
another kind are flagged too often or too seldom.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections.abc import Iterable

import torch

from ..format.clean_scores import BINS, CleanScores

WINDOW = 500
"""Requests that one test takes. The next takes others, so the tests are independent."""

MAX_SURPRISE = 300.0
"""-log10 of about the smallest probability that is not 0 in floating point."""


class ScoreDrift:
    """Pearson's chi-squared test of the requests' scores against those of calibration.

    The calibration's deciles part the requests of a window into ten bins, and a tenth is expected
    in each. The deciles of few calibration samples may lie far from the true ones by chance, and
    the test allows for that: the variance of a bin's share is .1 * .9 * (1/n + 1/m) for n requests
    and m calibration samples. For small m this is an approximation.

    Args:
        clean: the spread at calibration.
    """

    def __init__(self, clean: CleanScores) -> None:
        self._clean = clean
        self._lock = threading.Lock()
        self._counts = [0] * BINS
        self._seen = 0
        self.surprise: float | None = None
        """-log10 of the probability of so large a deviation by chance, of the latest whole window;
        None before the first."""

    def add(self, scores: Iterable[float]) -> bool:
        """Count the scores of requests that were not flagged; return whether a window ended."""
        ended = False
        with self._lock:
            for score in scores:
                self._counts[bisect_right(self._clean.deciles, score)] += 1
                self._seen += 1
                if self._seen == WINDOW:
                    self.surprise = surprise_of(self._counts, self._clean.count)
                    self._counts, self._seen, ended = [0] * BINS, 0, True
        return ended


def surprise_of(counts: list[int], calibrated_on: int) -> float:
    """Return -log10 of the test's p-value.

    Args:
        counts: number of requests in each of the ten bins.
        calibrated_on: number of clean samples that the deciles were read from.
    """
    total, expected = sum(counts), 1 / BINS
    deviation = sum((count / total - expected) ** 2 for count in counts)
    statistic = deviation / (expected * (1 / total + 1 / calibrated_on))
    freedom = torch.tensor((BINS - 1) / 2, dtype=torch.float64)
    half = torch.tensor(statistic / 2, dtype=torch.float64)
    probability = float(torch.special.gammaincc(freedom, half))
    return MAX_SURPRISE if probability <= 10**-MAX_SURPRISE else max(-math.log10(probability), 0.0)
