import pytest

from benchmarks.load.loops import Answered
from benchmarks.load.ratios import median_ratios, ratios


def test_worked_out_by_hand():
    # The machine is ten times as slow in the third round, for both.
    one = [Answered([1.0, 2.0, 9.0], 2.0), Answered([4.0], 4.0), Answered([30.0], 10.0)]
    other = [Answered([1.0, 1.0, 1.0], 1.0), Answered([2.0], 1.0), Answered([10.0], 10.0)]
    found = ratios(one, other)
    assert found["p50"] == 2
    assert found["throughput"] == 0.5
    assert found["p99"] == pytest.approx((9 + 0.96 * 21) / (2 + 0.96 * 8))


def test_what_is_compared_to_itself_is_one():
    rounds = [Answered([0.1, 0.3], 0.4)]
    assert ratios(rounds, rounds) == {"p50": 1, "p99": 1, "throughput": 1}


def test_medians_are_those_of_the_rounds_ratios():
    measured = {"a": [2.0, 30.0, 3.0], "b": [1.0, 10.0, 3.0]}
    assert median_ratios(measured, {"a / b": ("a", "b")}) == {"a / b": 2}
