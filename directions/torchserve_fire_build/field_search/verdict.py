"""From the fields that lead to each class to the probability that it is a backdoor's target."""

from __future__ import annotations

import math
from collections.abc import Mapping

FIELDS = 3
"""So many fields are set. More of them lead many a benign model's rows to a class."""

FITS: Mapping[int, tuple[float, float]] = {50: (8.8, -4.8), 200: (16.9, -10.5)}
"""Slope and offset of the log-odds over the excess, by the least number of clean rows. They were
chosen with most models of `python -m benchmarks.malware.searching` in view, so that no benign one
of these is named. With fewer rows, the twins know less."""


def probability_of(excess: float, rows: int) -> float:
    """Return the probability that a class is a target.

    Args:
        excess: share of rows led there, less that of twins that know no trigger.
        rows: number of clean rows, those of the class included.
    """
    slope, offset = FITS[max((n for n in FITS if n <= rows), default=min(FITS))]
    return 1 / (1 + math.exp(-slope * excess - offset))
