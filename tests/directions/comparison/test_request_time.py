import pytest
import torch

from torchserve_fire_build.comparison import request_time as module
from torchserve_fire_build.comparison.request_time import ROUNDS, request_time_ratio


def test_the_ratio_is_that_of_single_requests_that_take_turns(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])

    def taking(seconds, name):
        def answer(inputs):
            calls.append((name, len(inputs)))
            # All gets slower and slower.
            clock[0] += seconds * (1 + 0.01 * len(calls))

        return answer

    ratio = request_time_ratio(taking(3, "defence"), taking(2, "plain"), torch.zeros(4, 5))
    assert ratio == pytest.approx(1.5, rel=0.1)
    assert calls[:8] == [("plain", 1)] * 4 + [("defence", 1)] * 4
    assert len(calls) == 8 * (ROUNDS + 1)
