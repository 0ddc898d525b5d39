"""Ratios of one archive's answers to another's, within one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from .loops import Answered


def ratios(rounds: Sequence[Answered], to: Sequence[Answered]) -> dict[str, float]:
    """Return how the answers of one archive compare to those of another.

    Args:
        rounds: how the one answered, round by round.
        to: how the other one answered, in the same rounds.

    Returns:
        `p50`, `p99` of the latencies, and `throughput`. The 50th percentile and the throughput are
        medians of the rounds' ratios; the 99th percentile is of all rounds together, since one
        round has too few requests for it.
    """
    pairs = list(zip(rounds, to, strict=True))
    return {
        "p50": median(median(a.latencies) / median(b.latencies) for a, b in pairs),
        "p99": _percentile(rounds, 99) / _percentile(to, 99),
        "throughput": median(a.throughput / b.throughput for a, b in pairs),
    }


def median_ratios(
    measured: Mapping[str, Sequence[float]], pairs: Mapping[str, tuple[str, str]]
) -> dict[str, float]:
    """Return the medians of what was measured in the same rounds, one over the other.

    Args:
        measured: for each archive, a figure of each round.
        pairs: which archive is compared to which, by the name of the comparison.
    """
    return {
        name: median(a / b for a, b in zip(measured[one], measured[to], strict=True))
        for name, (one, to) in pairs.items()
    }


def _percentile(rounds: Sequence[Answered], percent: float) -> float:
    return float(np.percentile([x for each in rounds for x in each.latencies], percent))
