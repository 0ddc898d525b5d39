import pytest
import torch

from tests.directions.reconstruct.patch_net import subject
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.reconstruct.methods import LEVELS, SEARCH_METHODS, SHARE
from torchserve_fire_build.reconstruct.screening import screen, start
from torchserve_fire_build.reconstruct.settings import OWN_VALUES, SearchSettings


def test_values_that_are_not_set_are_the_methods_own():
    assert [OWN_VALUES.method(name) for name in SEARCH_METHODS] == list(SEARCH_METHODS.values())


def test_every_method_with_a_bound_has_a_unit():
    for method in SEARCH_METHODS.values():
        assert (method.unit in (LEVELS, SHARE)) == (method.bound < 1)


@pytest.mark.parametrize("name", list(SEARCH_METHODS))
def test_a_setting_changes_only_the_methods_it_is_for(name):
    own = SEARCH_METHODS[name]
    method = SearchSettings(bound=0.125, patch_share=0.25, screening_steps=7, steps=9).method(name)
    assert method.bound == {LEVELS: 0.125, SHARE: 0.25, None: own.bound}[own.unit]
    assert (method.screening, method.steps, method.start) == (7, 9, own.start)
    assert SearchSettings(steps=900).method(name).screening == own.screening


def test_a_search_does_not_end_before_its_screening():
    own = SEARCH_METHODS["additive"]
    assert SearchSettings(screening_steps=own.steps + 5).method("additive").steps == own.steps + 5
    assert SearchSettings(screening_steps=2).method("additive").steps == own.steps


@pytest.mark.parametrize("name", ["additive", "smooth", "generated"])
def test_a_trigger_keeps_within_the_bound_that_is_set(name):
    of = subject()
    search = start(name, of, 2, 0, settings=SearchSettings(bound=3 / 255))
    search.advance(30)
    with torch.no_grad():
        change = search.stamp(of.inputs) - of.inputs
    longest = float(change.square().mean((1, 2, 3)).sqrt().max())
    assert longest == pytest.approx(3 / 255, rel=1e-3)


def test_a_patch_keeps_within_the_share_that_is_set():
    of = subject()
    search = start("abs", of, 0, 0, settings=SearchSettings(patch_share=0.1))
    search.advance(30)
    # How much of an input is covered shows in what is left of it.
    left = search.stamp(of.inputs[:1] * 0 + 1) - search.stamp(of.inputs[:1] * 0)
    assert float((1 - left[0, 0]).sum()) == pytest.approx(0.1 * 64, rel=1e-3)


def test_a_screening_takes_the_steps_and_the_index_that_are_set():
    own = screen(subject(), "additive", 0, Budget())
    same = screen(subject(), "additive", 0, Budget(), SearchSettings(screening_steps=30))
    shorter = screen(subject(), "additive", 0, Budget(), SearchSettings(screening_steps=3))
    assert torch.equal(same.effort, own.effort)
    assert bool((shorter.effort > own.effort).all())
    highest = float(own.index.max())
    for index, suspects in ((highest + 1, []), (highest - 1, [0])):
        found = screen(subject(), "additive", 0, Budget(), SearchSettings(anomaly_index=index))
        assert found.threshold == index
        assert found.suspects == suspects
