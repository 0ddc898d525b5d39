import pytest
import torch
from torch import nn

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.building import search_plan as module
from torchserve_fire_build.building.name_target import NamedTarget
from torchserve_fire_build.building.search_plan import SearchPlan, find_by_plan
from torchserve_fire_build.reconstruct.find_triggers import FoundTriggers
from torchserve_fire_build.reconstruct.settings import SearchSettings
from torchserve_fire_build.samples.tensor_samples import TensorSamples

PIXEL = InputDescription("tensor", (1, 1, 1))
STRICT = SearchSettings(anomaly_index=5.0)


@pytest.fixture
def asked(monkeypatch):
    """What a search for triggers is asked for; a scan names class 3."""
    given = {}

    def name(model, clean, description, **options):
        given["scan"] = options
        return NamedTarget(3, ["smooth"], ["additive"])

    def find(model, clean, description, **options):
        given.update(options)
        return FoundTriggers(options["target"] or 0, [], [])

    monkeypatch.setattr(module, "name_target", name)
    monkeypatch.setattr(module, "find_triggers", find)
    return given


def find(plan, target=None, **options):
    clean = TensorSamples(torch.zeros(1, 1, 1, 1), description=PIXEL)
    return find_by_plan(plan, nn.Identity(), clean, target=target, seed=2, **options)


def test_a_scan_names_the_target_and_the_searches_that_show_it(asked, tmp_path):
    plan = SearchPlan()
    assert find(plan, settings=STRICT, cache=tmp_path).target == 3
    assert (asked["target"], asked["methods"], asked["others"]) == (3, ["smooth"], ["additive"])
    assert asked["otherwise"] == ()
    # How searches compare the classes does not matter here.
    assert asked["settings"] == plan.settings
    assert (asked["scan"]["seed"], asked["scan"]["cache"]) == (2, tmp_path)
    assert asked["scan"]["budget"] is asked["budget"] is plan.budget


@pytest.mark.parametrize(
    ("plan", "target"),
    [(SearchPlan(), 1), (SearchPlan(methods=["tabor"], otherwise=["abs"]), None)],
)
def test_a_target_or_a_search_that_is_named_needs_no_scan(asked, plan, target):
    find(plan, target, settings=STRICT)
    assert "scan" not in asked
    assert (asked["target"], asked["others"], asked["settings"]) == (target, None, STRICT)
    assert (asked["methods"], asked["otherwise"]) == (plan.methods, plan.otherwise)


def test_a_scan_is_for_a_plan_that_chooses_nothing_else():
    assert SearchPlan().scans
    assert SearchPlan(settings=SearchSettings(steps=300)).scans
    assert not SearchPlan(methods=["additive"], otherwise=()).scans
    for chosen in ({"bound": 0.1}, {"anomaly_index": 3.0}, {"screening_steps": 20}):
        assert not SearchPlan(settings=SearchSettings(**chosen)).scans
