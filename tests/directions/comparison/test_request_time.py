import pytest
import torch

from torchserve_fire_build.comparison import request_time as module
from torchserve_fire_build.comparison.request_time import ROUNDS, request_time_ratio


def test_the_ratio_is_that_of_single_requests_at_their_shortest(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])

    def taking(seconds, name):
        def answer(inputs):
            calls.append((name, len(inputs)))
            # Now and then, something else takes the machine.
            clock[0] += seconds + (100 if len(calls) % 3 == 0 else 0)

        return answer

    ratio = request_time_ratio(taking(3, "defence"), taking(2, "plain"), torch.zeros(4, 5))
    assert ratio == pytest.approx(1.5)
    assert calls == [("plain", 1), ("defence", 1)] * 4 * ROUNDS
