"""What a defence adds to the time of a request."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

from torch import Tensor

from ..rivals.rival import Defence

ROUNDS = 7
REQUESTS = 6
"""Clean requests, one at a time, in each round."""


def request_time_ratio(defence: Defence, plain: Defence, inputs: Tensor) -> float:
    """Return how many times as long a clean request takes as without any defence.

    The two take turns, so that a busy machine slows both; the median of all rounds counts.

    Args:
        defence: the defended model.
        plain: the model as it is.
        inputs: clean inputs, (N, *input shape); `REQUESTS` are enough.
    """
    requests = [inputs[i : i + 1] for i in range(min(REQUESTS, len(inputs)))]
    ratios = []
    for turn in range(ROUNDS + 1):
        before, after = _seconds(plain, requests), _seconds(defence, requests)
        # The first round finds nothing warm.
        if turn:
            ratios.append(after / before)
    return median(ratios)


def _seconds(defence: Defence, requests: Sequence[Tensor]) -> float:
    start = time.perf_counter()
    for request in requests:
        # The answers lie on the CPU: whatever a GPU had to do is done.
        defence(request)
    return time.perf_counter() - start
