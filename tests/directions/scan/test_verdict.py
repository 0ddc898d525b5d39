import math

import pytest
import torch

from torchserve_fire_build.scan import calibration, verdict
from torchserve_fire_build.scan.evidence import NAMES
from torchserve_fire_build.scan.verdict import (
    CLEAR,
    FITTED_ON,
    FOUND,
    UNMEASURED,
    Verdict,
    exceeding,
    judge,
    judge_by,
)

USUAL = tuple(1.0 + i for i in range(len(NAMES)))
WEIGHTS, OFFSET = (3.0, *(1.0 + i for i in range(len(NAMES) - 1))), -4.0


@pytest.fixture(autouse=True)
def _fitted(monkeypatch):
    """Values of the tests' own: the fit changes the others."""
    monkeypatch.setattr(verdict, "FITS", {50: (USUAL, WEIGHTS, OFFSET)})


def evidence(classes, **of_class):
    """Evidence of classes, `c3=2.0` of class 3, in its first number."""
    found = torch.zeros(classes, len(NAMES), dtype=torch.float64)
    for name, value in of_class.items():
        found[int(name[1:]), 0] = value
    return found


def test_a_number_counts_as_far_as_it_exceeds_the_usual():
    values = evidence(3, c0=0.5, c1=1.0, c2=3.0)
    values[2, 1] = 3.0
    # Its first number is three times the usual 1, its second half as much again as the usual 2.
    found = exceeding(values, torch.tensor(USUAL, dtype=torch.float64))
    expected = torch.zeros(3, len(NAMES), dtype=torch.float64)
    expected[2, :2] = torch.tensor([2, 0.5])
    torch.testing.assert_close(found, expected)


def test_odds_of_what_exceeds_the_usual():
    found = judge(evidence(FITTED_ON, c3=2.0), 50).probabilities
    assert found.dtype == torch.float64
    assert float(found[3]) == pytest.approx(1 / (1 + math.exp(4 - 3)))
    # Of the other nine, any may be the target: they share what is left without evidence.
    assert float(found[0]) == pytest.approx(1 / (1 + math.exp(4)) / FITTED_ON)
    usual, weights = (torch.tensor(each, dtype=torch.float64) for each in (USUAL, WEIGHTS))
    by = judge_by(evidence(FITTED_ON, c3=2.0), usual, weights, OFFSET)
    assert torch.equal(by.probabilities, found)


@pytest.mark.parametrize("factor", [2, 10, 100])
def test_more_classes_lower_the_odds_by_their_number(factor):
    few, many = (
        float(judge(evidence(classes, c3=2.5), 50).probabilities[3])
        for classes in (FITTED_ON, FITTED_ON * factor)
    )
    assert few / (1 - few) == pytest.approx(factor * many / (1 - many))


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_each_number_raises_the_probability_of_its_class_alone(number):
    values = evidence(8)
    before = judge(values, 50).probabilities
    for amount in (0.5, 1, 1.5, 2, 3):
        values[5, number] = amount * USUAL[number]
        after = judge(values, 50).probabilities
        # What is usual says nothing.
        assert (float(after[5]) > float(before[5])) is (amount > 1)
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
    judged = judge(evidence(8, c1=4.0, c6=5.0, c2=2.0), 50)
    assert judged.targets == [6, 1]
    assert judged.found is True


def test_with_fewer_images_more_is_usual(monkeypatch):
    twice = tuple(2 * number for number in USUAL)
    monkeypatch.setattr(
        verdict, "FITS", {50: (twice, WEIGHTS, OFFSET), 200: (USUAL, WEIGHTS, OFFSET)}
    )
    values = evidence(8, c1=3.5)
    few, many = (judge(values, images).probability for images in (199, 200))
    assert few < many
    # Fewer than any fit is for are judged by that for the fewest.
    assert judge(values, 10).probability == few == judge(values, 50).probability
    assert judge(values, 500).probability == many


@pytest.mark.parametrize("images", calibration.FITS)
def test_what_was_fitted_finds_nothing_where_nothing_exceeds_the_usual(images):
    *fitted, offset = calibration.FITS[images]
    usual, weights = (torch.tensor(each, dtype=torch.float64) for each in fitted)
    assert len(usual) == len(weights) == len(NAMES)
    assert bool((usual > 0).all())
    assert bool((weights > 0).all())
    values = evidence(FITTED_ON)
    values[4] = usual
    assert judge_by(values, usual, weights, offset).found is False
    values[4] = 100 * usual
    assert judge_by(values, usual, weights, offset).targets == [4]


def test_without_anything_unusual_a_model_keeps_the_probability_of_its_kind():
    judged = judge(evidence(FITTED_ON), 50)
    assert judged.probability == pytest.approx(1 / (1 + math.exp(4)))
    assert float(judged.probabilities.sum()) == pytest.approx(judged.probability)
    assert judged.found is False


def test_a_share_that_follows_raises_the_probability_of_the_model_and_of_no_class(monkeypatch):
    monkeypatch.setattr(verdict, "ALL_TO_ALL", (10.0, -3.0))
    few, many, none = (judge(evidence(5), 200, share) for share in (0.1, 0.8, None))
    assert few.all_to_all == pytest.approx(1 / (1 + math.exp(2)))
    assert many.all_to_all == many.probability == pytest.approx(1 / (1 + math.exp(-5)))
    assert none.all_to_all == 0
    assert torch.equal(many.probabilities, none.probabilities)
    assert (few.found, many.found, many.targets) == (False, True, [])


def test_on_inputs_that_nobody_measured_no_class_is_named_and_the_order_stays():
    chances = torch.tensor([0.1, 0.5, 0.7, 0.95, 1.0], dtype=torch.float64)
    unsure = Verdict(chances, least=0.01, all_to_all=0.99).unmeasured()
    assert unsure.probabilities.tolist() == pytest.approx([0.1, 0.5, 0.62, 0.77, UNMEASURED])
    assert (unsure.targets, unsure.found, unsure.least) == ([], None, pytest.approx(0.01))
    assert unsure.all_to_all < FOUND


def test_on_inputs_that_nobody_measured_nothing_may_be_found():
    chances = torch.tensor([0.1, 0.4], dtype=torch.float64)
    assert Verdict(chances).unmeasured().found is False
