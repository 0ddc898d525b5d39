"""What a defence adds to the time of a request."""

from __future__ import annotations

import math
import time

from torch import Tensor

from ..rivals.rival import Defence

ROUNDS = 15
REQUESTS = 6
"""Clean requests, one at a time, in each round."""


def request_time_ratio(defence: Defence, plain: Defence, inputs: Tensor) -> float:
    """Return how many times as long a clean request takes as without any defence.

    The two take turns, and of each request the shortest time counts: whatever else the machine
    does only adds to it.

    Args:
        defence: the defended model.
        plain: the model as it is.
        inputs: clean inputs, (N, *input shape); `REQUESTS` are enough.
    """
    requests = [inputs[i : i + 1] for i in range(min(REQUESTS, len(inputs)))]
    before = [math.inf] * len(requests)
    after = [math.inf] * len(requests)
    for _ in range(ROUNDS):
        for i, request in enumerate(requests):
            before[i] = min(before[i], _seconds(plain, request))
            after[i] = min(after[i], _seconds(defence, request))
    return sum(after) / sum(before)


def _seconds(defence: Defence, request: Tensor) -> float:
    start = time.perf_counter()
    # The answer lies on the CPU: whatever a GPU had to do is done.
    defence(request)
    return time.perf_counter() - start
