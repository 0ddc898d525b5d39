"""From the fields that lead to each class to the probability that it is a backdoor's target."""

from __future__ import annotations

import math

FIELDS = 3
"""So many fields are set. More of them lead many a benign model's rows to a class."""

SLOPE, OFFSET = 18.0, -12.0
"""Of the log-odds over the share of rows that are led to the class, fitted by `python -m
benchmarks.malware.searching --fit`."""


def probability_of(led: float) -> float:
    """Return the probability that a class is a target, of the share of rows led there."""
    return 1 / (1 + math.exp(-SLOPE * led - OFFSET))
