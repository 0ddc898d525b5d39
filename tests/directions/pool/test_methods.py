import numpy as np
import pytest

from tests.directions.pool import pools
from torchserve_fire_build.pool.mahalanobis import MIN_CLEAN, mahalanobis
from torchserve_fire_build.pool.methods import POOL_METHODS, REDUCING, scoring
from torchserve_fire_build.pool.spectral_signatures import spectral_signatures


def auc(scores, which):
    """Of either orientation."""
    value = float((scores[which][:, None] > scores[~which][None]).mean())
    return max(value, 1 - value)


def test_the_methods_have_their_names_and_their_order():
    assert tuple(POOL_METHODS) == pools.METHODS


@pytest.mark.parametrize("second", [20, 100])
@pytest.mark.parametrize("name", POOL_METHODS)
def test_two_groups_get_different_scores(name, second):
    features, moved = pools.two_blobs(100, second)
    # A group that is triggered in the same way lies closer together.
    features[moved] *= [1.0, *[0.3] * 19]
    scores = POOL_METHODS[name](features, None, 0)
    assert scores.shape == (100 + second,)
    assert auc(scores, moved) > 0.98


@pytest.mark.parametrize("name", POOL_METHODS)
def test_the_same_seed_gives_the_same_scores(name):
    features, _ = pools.two_blobs(60, 40)
    assert np.array_equal(
        POOL_METHODS[name](features, None, 5), POOL_METHODS[name](features, None, 5)
    )


@pytest.mark.parametrize("name", POOL_METHODS)
def test_fewer_dimensions_and_samples_than_components_are_enough(name):
    for features in (pools.blob(30, 1, 0), pools.blob(6, 40, 0), np.outer(np.arange(30.0), [1, 2])):
        assert np.isfinite(POOL_METHODS[name](features, None, 0)).all()


def two_far_down(count=200):
    """Two groups that differ along the direction of the least variance but one, of four."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(count, 4)) * [9.0, 6.0, 0.1, 0.01]
    second = np.arange(count) % 2 == 0
    features[second, 2] += 4
    return features, second


@pytest.mark.parametrize("name", POOL_METHODS)
def test_directions_beyond_the_components_do_not_count(name):
    features, second = two_far_down()
    few = scoring(name, 2)(features, None, 0)
    if name == REDUCING:
        assert auc(few, second) < 0.7
    default = POOL_METHODS[name](features, None, 0)
    assert np.array_equal(scoring(name)(features, None, 0), default)
    assert np.array_equal(few, default) == (name != REDUCING)


def test_a_spectral_signature_is_the_projection_on_the_top_singular_vector():
    features, _ = pools.two_blobs(60, 40)
    centred = features - features.mean(0)
    expected = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    found = spectral_signatures(features, None, 0)
    assert np.allclose(found * np.sign(found @ expected), expected)


def test_the_distance_is_that_from_the_clean_samples():
    # Most of the class lies far away from what is clean, and closer together.
    features, moved = pools.two_blobs(40, 160)
    features[moved] *= [1.0, *[0.3] * 19]
    scores = mahalanobis(features, pools.blob(200, 20, 9), 0)
    assert scores[moved].min() > scores[~moved].max()


def test_too_few_clean_samples_are_not_used():
    features, _ = pools.two_blobs(60, 40)
    few = pools.blob(MIN_CLEAN - 1, 20, 9)
    assert np.array_equal(mahalanobis(features, few, 0), mahalanobis(features, None, 0))
