import numpy as np
import pytest

from tests.directions.pool import pools
from torchserve_fire_build.pool.class_groups import MIN_GROUP, ClassGroups, find_class_groups
from torchserve_fire_build.pool.held_out_scores import held_out_scores
from torchserve_fire_build.pool.methods import POOL_METHODS
from torchserve_fire_build.pool.split import MAX_OVERLAP, MIN_GAIN
from torchserve_fire_build.pool.two_groups import TwoGroups


@pytest.mark.parametrize("second", [30, 100, 200])
@pytest.mark.parametrize("name", ["activation-clustering", "spectral-signatures"])
def test_groups_that_lie_apart_are_found(name, second):
    features, moved = pools.two_blobs(100, second)
    found = find_class_groups(features, None, POOL_METHODS[name], 0)
    assert found.scores.shape == (100 + second,)
    upper = found.apart(MAX_OVERLAP, MIN_GAIN)
    assert np.array_equal(upper, moved) or np.array_equal(upper, ~moved)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", POOL_METHODS)
def test_one_cloud_is_not_two_groups(name, seed):
    features = pools.blob(200, 30, seed) * np.linspace(3, 0.1, 30)
    found = find_class_groups(features, None, POOL_METHODS[name], seed)
    assert found.apart(MAX_OVERLAP, MIN_GAIN) is None


def test_a_gap_needs_little_overlap_and_enough_gain():
    groups = TwoGroups(gain=0.2, overlap=0.03, upper=np.array([False, True]))
    found = ClassGroups(np.zeros(2), groups)
    assert found.apart(0.03, 0.2) is groups.upper
    assert found.apart(0.029, 0.2) is None
    assert found.apart(0.03, 0.21) is None


def test_too_few_samples_form_no_groups():
    features, _ = pools.two_blobs(MIN_GROUP, MIN_GROUP - 1)
    found = find_class_groups(features, None, POOL_METHODS["spectral-signatures"], 0)
    assert found.groups is None
    assert not found.scores.any()


def test_samples_that_are_all_the_same_form_no_groups():
    for name in POOL_METHODS:
        assert find_class_groups(np.ones((40, 5)), None, POOL_METHODS[name], 0).groups is None


def test_noise_that_was_cut_at_random_has_no_gap():
    features = pools.blob(80, 60, 0)
    groups = np.random.default_rng(0).random(80) < 0.5
    scores = held_out_scores(features, groups, 0)
    # On the samples that it was fitted on, so many dimensions would separate any two groups.
    assert abs(scores[groups].mean() - scores[~groups].mean()) < 0.5


def test_the_means_that_a_discriminant_was_fitted_on_are_1_apart_from_the_middle():
    features, moved = pools.two_blobs(100, 100)
    scores = held_out_scores(features, moved, 0)
    assert scores[moved].mean() == pytest.approx(1, abs=0.1)
    assert scores[~moved].mean() == pytest.approx(-1, abs=0.1)
