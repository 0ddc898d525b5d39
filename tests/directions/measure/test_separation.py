import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from torchserve_fire_build.measure.separation import area_under_curve, separates


def test_the_area_is_the_share_of_pairs_in_order():
    assert area_under_curve(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0])) == 0.75
    assert area_under_curve(torch.tensor([0.0]), torch.tensor([0.0, 1.0])) == 0.75
    assert area_under_curve(torch.empty(0), torch.ones(3)) is None


def test_equal_scores_count_half():
    assert area_under_curve(torch.zeros(3), torch.zeros(2)) == 0.5
    # Of eight pairs, three are in order and four are equal.
    triggered = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, -1.0])
    assert area_under_curve(torch.zeros(1), triggered) == 0.625


# Few values, so that many are equal.
SCORES = st.lists(st.integers(-3, 3) | st.floats(width=32, allow_nan=False), min_size=1)


@given(SCORES, SCORES)
def test_the_area_is_that_of_scikit_learn(clean, triggered):
    labels = [0] * len(clean) + [1] * len(triggered)
    expected = roc_auc_score(labels, np.clip(np.array(clean + triggered, float), -1e300, 1e300))
    found = area_under_curve(torch.tensor(clean).float(), torch.tensor(triggered).float())
    assert found == pytest.approx(expected, abs=1e-6)


def test_scores_without_overlap_separate_however_few_they_are():
    assert separates(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0]))
    assert not separates(torch.tensor([2.0, 3.0]), torch.tensor([0.0, 1.0]))


def test_equal_scores_do_not_separate():
    assert not separates(torch.zeros(100), torch.zeros(100))


def test_without_samples_of_both_kinds_nothing_separates():
    assert not separates(torch.empty(0), torch.ones(3))


def test_a_moderate_auc_separates_only_many_samples():
    # 8 of every 10 triggered scores exceed all clean ones: an AUC of .8.
    few = torch.tensor([1.0] * 8 + [-1.0] * 2)
    assert not separates(torch.zeros(10), few)
    assert separates(torch.zeros(200), few.repeat(20))


def test_random_scores_do_not_separate():
    generator = torch.Generator().manual_seed(0)
    passed = sum(
        separates(torch.randn(10, generator=generator), torch.randn(30, generator=generator))
        for _ in range(2000)
    )
    assert passed <= 4
