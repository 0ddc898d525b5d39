import numpy as np
import pytest

from tests.directions.pool import pools
from torchserve_fire_build.pool.two_groups import fit_two_groups


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_gap_is_found(share):
    upper = np.arange(400) < share * 400
    found = fit_two_groups(1000 + pools.blob(400, 1, 0)[:, 0] + 8.0 * upper, 0)
    assert found.gain > 0.3
    assert found.overlap < 0.005
    assert np.array_equal(found.upper, upper)


def test_one_group_has_no_gap():
    found = fit_two_groups(pools.blob(400, 1, 0)[:, 0], 0)
    assert found.gain < 0.05
    assert found.overlap > 0.05


def test_a_wider_group_does_not_get_both_ends():
    narrow, wide = pools.blob(300, 1, 0)[:, 0], 20 + 4 * pools.blob(100, 1, 1)[:, 0]
    found = fit_two_groups(np.append(np.concatenate([narrow, wide]), -6.0), 0)
    assert not found.upper[-1]
    assert found.upper[300:-1].mean() > 0.98


def test_the_global_generator_is_not_touched():
    before = np.random.get_state()[1:3]
    fit_two_groups(pools.blob(50, 1, 0)[:, 0], 0)
    after = np.random.get_state()[1:3]
    assert np.array_equal(before[0], after[0])
    assert before[1] == after[1]
