import math

import pytest

from torchserve_fire_build.comparison.outcome import Measured, Outcome
from torchserve_fire_build.comparison.summary import Row, estimate
from torchserve_fire_build.measure.figures import interval


def measured(recovered, *, flagged=None):
    return Outcome(Measured(0.9, 0.1, recovered, flagged, flagged, 1, 2, 3, 4))


@pytest.mark.parametrize("draws", [1, 2, 5])
def test_draws_that_agree_leave_the_interval_of_the_test_samples(draws):
    found = estimate([0.8] * draws, 100)
    assert found.mean == pytest.approx(0.8)
    assert found.within == pytest.approx(interval(0.8, 100))


def test_draws_that_differ_widen_it():
    found = estimate([0.7, 0.9], 100)
    low, high = interval(0.8, 100)
    # Student's quantile with one degree of freedom; their deviation is .1 times the root of 2.
    spread = 12.7062 * 0.1
    assert found.within == pytest.approx((max(0, 0.8 - math.hypot(0.8 - low, spread)), 1.0))
    three = estimate([0.79, 0.8, 0.81], 100)
    spread = 4.30265 * 0.01 / math.sqrt(3)
    assert three.within[0] == pytest.approx(0.8 - math.hypot(0.8 - low, spread), abs=1e-5)
    assert three.within[1] == pytest.approx(0.8 + math.hypot(high - 0.8, spread), abs=1e-5)


def test_a_row_averages_the_draws_that_were_built():
    row = Row("x", [measured(0.7), Outcome(failed="diverges"), measured(0.9)], (10, 20))
    assert row.recovered_accuracy.mean == pytest.approx(0.8)
    assert row.average("passes_triggered") == 2
    assert row.average("flagged_clean") is None
    assert row.remark == "failed in 1 of 3 draws: diverges"


def test_a_row_without_figures_says_why():
    assert Row("x", [Outcome(failed="a"), Outcome(failed="b")], (1, 1)).remark == "failed: a"
    row = Row("x", [Outcome(not_applicable="no layer")], (1, 1))
    assert row.remark == "not applicable: no layer"
    assert row.measured == []
    assert Row("x", [measured(0.5)], (1, 1)).remark == ""
