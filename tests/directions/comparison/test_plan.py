from dataclasses import replace

import pytest

from torchserve_fire_build.common.names import OURS, RIVALS
from torchserve_fire_build.comparison.plan import ANSWERING, BUILDING, Sizes, expected_seconds

SIZES = Sizes(drawn=40, pool=100, test=200)


@pytest.mark.parametrize("name", [OURS, *RIVALS])
def test_more_samples_take_longer_and_so_does_a_slower_machine(name):
    seconds = expected_seconds(name, SIZES, 0.01)
    assert seconds >= 2
    assert expected_seconds(name, SIZES, 0.02) == pytest.approx(2 * seconds)
    more = 2 * ANSWERING.get(name, 1)
    assert expected_seconds(name, replace(SIZES, test=400), 0.01) == pytest.approx(seconds + more)


def test_all_are_planned_but_those_that_are_built_at_once():
    at_once = {"no_repair", "shrinkpad", "jpeg", "blur", "channel_lipschitz_pruning", "lite_bd"}
    assert set(BUILDING) == {OURS, *RIVALS} - at_once
    assert {*ANSWERING} <= {*RIVALS}
