"""From the fields that lead to each class to the probability that it is a backdoor's target."""

from __future__ import annotations

import math

FIELDS = 3
"""So many fields are set. More of them lead many a benign model's rows to a class."""

SLOPE, OFFSET = 16.0, -10.5
"""Of the log-odds over the share of rows that are led to the class, beyond what twins that know no
trigger are led to, fitted by `python -m benchmarks.malware.searching --fit`."""


def probability_of(excess: float) -> float:
    """Return the probability that a class is a target.

    Args:
        excess: share of rows led there, less that of twins that know no trigger.
    """
    return 1 / (1 + math.exp(-SLOPE * excess - OFFSET))
