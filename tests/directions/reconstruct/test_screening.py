import math
from dataclasses import replace

import pytest
import torch

from tests.directions.reconstruct.patch_net import FIND_IT, settings, subject
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.reconstruct.generated import GeneratorSearch
from torchserve_fire_build.reconstruct.methods import SEARCH_METHODS
from torchserve_fire_build.reconstruct.screening import screen
from torchserve_fire_build.reconstruct.settings import SearchSettings


@pytest.mark.parametrize("name", FIND_IT)
@pytest.mark.slow
def test_only_the_target_stands_out(name):
    screening = screen(subject(), name, 0, Budget(), settings(name))
    assert screening.method == name
    assert screening.suspects == [0]
    assert int(screening.index.argmax()) == int(screening.effort.argmin()) == 0
    assert screening.success[0] > 0.75
    assert len(screening.searches) == 4


@pytest.mark.parametrize("name", list(SEARCH_METHODS))
@pytest.mark.slow
def test_no_class_of_a_benign_model_stands_out(name):
    assert screen(subject(drive=0), name, 0, Budget(), settings(name)).suspects == []


@pytest.mark.parametrize("effort", [math.nan, math.inf])
def test_with_an_effort_that_is_not_finite_nothing_is_compared(monkeypatch, effort):
    monkeypatch.setattr(GeneratorSearch, "effort", lambda search, loss: effort)
    screening = screen(subject(), "generated", 0, Budget(), SearchSettings(screening_steps=1))
    assert screening.index is None
    assert screening.suspects == []
    assert f"towards class 0 the effort is {effort}, expected" in screening.why_no_index


def test_without_time_nothing_is_compared():
    screening = screen(subject(), "additive", 0, Budget(0))
    assert screening.searches == []
    assert screening.index is None
    assert (
        screening.why_no_index == "0 of 4 classes searched: the time was over, raise the --budget"
    )
    assert screening.suspects == []
    assert bool(torch.isnan(screening.effort).all())


@pytest.mark.parametrize("name", ["deepinspect", "feature-space"])
def test_without_time_searches_of_all_classes_are_not_started(name, monkeypatch):
    def start_all(*_):
        raise AssertionError("started")

    method = replace(SEARCH_METHODS[name], start_all=start_all)
    monkeypatch.setattr("torchserve_fire_build.reconstruct.settings.SEARCH_METHODS", {name: method})
    assert screen(subject(), name, 0, Budget(0)).searches == []


def test_the_time_limit_is_kept_within_a_step_of_all_classes(monkeypatch):
    now, steps = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def count(search, number):
        steps.append(number)
        now[0] += number

    monkeypatch.setattr(GeneratorSearch, "advance", count)
    assert screen(subject(), "feature-space", 0, Budget(6)).index is None
    assert steps == [1] * 6
