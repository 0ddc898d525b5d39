import math

import pytest
import torch

from torchserve_fire_build.scan import verdict
from torchserve_fire_build.scan.evidence import NAMES
from torchserve_fire_build.scan.verdict import CLEAR, FOUND, USUAL, Verdict, judge


@pytest.fixture(autouse=True)
def weights(monkeypatch):
    """Weights of the tests' own: the fit changes the others."""
    monkeypatch.setattr(verdict, "WEIGHTS", tuple(range(1, len(NAMES) + 1)))
    monkeypatch.setattr(verdict, "OFFSET", -4.0)


def evidence(classes, **of_class):
    """Evidence of a class, `c3=2.0` of class 3, in its first number."""
    found = torch.zeros(classes, len(NAMES), dtype=torch.float64)
    for name, value in of_class.items():
        found[int(name[1:]), 0] = value
    return found


def test_odds_are_added_up():
    found = judge(evidence(USUAL, c3=2.0)).probabilities
    assert found.dtype == torch.float64
    assert float(found[3]) == pytest.approx(1 / (1 + math.exp(4 - 2)))
    assert float(found[0]) == pytest.approx(1 / (1 + math.exp(4)))


@pytest.mark.parametrize("factor", [2, 10, 100])
def test_more_classes_lower_the_odds_by_their_number(factor):
    few, many = (
        float(judge(evidence(classes, c3=5.0)).probabilities[3])
        for classes in (USUAL, USUAL * factor)
    )
    assert few / (1 - few) == pytest.approx(factor * many / (1 - many))


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_each_number_raises_the_probability_of_its_class_alone(number):
    values = evidence(8)
    before = judge(values).probabilities
    for amount in (0.1, 1, 3):
        values[5, number] = amount
        after = judge(values).probabilities
        assert float(after[5]) > float(before[5])
        assert torch.equal(after[:5], before[:5])
        before = after


@pytest.mark.parametrize(
    ("highest", "found", "targets"),
    [
        (FOUND + 0.01, True, [2]),
        (FOUND, True, [2]),
        (FOUND - 0.01, None, []),
        (CLEAR + 0.01, None, []),
        (CLEAR, False, []),
        (0.0, False, []),
        (math.nan, None, []),
    ],
)
def test_what_a_probability_means(highest, found, targets):
    judged = Verdict(torch.tensor([0.0, 0.0, highest, 0.0], dtype=torch.float64))
    assert judged.found is found
    assert judged.targets == targets
    assert judged.probability == pytest.approx(highest, nan_ok=True)


def test_several_targets_are_named_the_most_likely_first():
    judged = judge(evidence(8, c1=7.0, c6=9.0, c2=3.0))
    assert judged.targets == [6, 1]
    assert judged.found is True


def test_the_weights_that_are_fitted_find_something_and_not_without_evidence():
    from torchserve_fire_build.scan.calibration import OFFSET, WEIGHTS

    assert OFFSET < 0
    assert all(math.isfinite(weight) and weight >= 0 for weight in WEIGHTS)
    assert any(WEIGHTS)
