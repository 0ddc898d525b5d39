"""The names that help texts are made from, held against the methods themselves."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from torchserve_fire.model.config import MODES
from torchserve_fire_build.building.build_options import BuildOptions
from torchserve_fire_build.building.from_clean import FURTHER_INDEX
from torchserve_fire_build.choose.choice import FORMS
from torchserve_fire_build.common import names
from torchserve_fire_build.inspection import meta_classifier, neuron_inspect
from torchserve_fire_build.inspection.methods import DEFAULT, INSPECTION_METHODS
from torchserve_fire_build.pool import activation_clustering
from torchserve_fire_build.pool.methods import POOL_METHODS, REDUCING
from torchserve_fire_build.reconstruct import deep_inspect, input_box, screening
from torchserve_fire_build.reconstruct.methods import (
    AFFORDABLE,
    LEVELS,
    OTHERWISE,
    SEARCH_METHODS,
    SHARE,
)
from torchserve_fire_build.sanitize import defaults
from torchserve_fire_build.sanitize.methods import SANITIZE_METHODS


def test_names_stand_in_the_order_of_the_methods() -> None:
    assert list(names.SEARCHES) == list(SEARCH_METHODS)
    assert names.ALL_SEARCHES == AFFORDABLE
    assert names.OTHERWISE == OTHERWISE
    assert list(names.SPLITS) == list(POOL_METHODS)
    assert list(names.INSPECTIONS) == list(INSPECTION_METHODS)
    assert (names.SCAN,) == DEFAULT
    assert list(names.SANITIZERS) == list(SANITIZE_METHODS)
    assert names.FORMS == FORMS
    assert names.MODES == MODES


@pytest.mark.parametrize("name", SEARCH_METHODS)
def test_searches(name: str) -> None:
    search, method = names.SEARCHES[name], SEARCH_METHODS[name]
    assert (search.screening, search.steps) == (method.screening, method.steps)
    assert search.whole == method.whole
    assert (search.bound is not None) == (method.unit == LEVELS)
    assert (search.patch_share is not None) == (method.unit == SHARE)
    if search.bound is not None:
        assert search.bound / names.LEVELS == method.bound
    if search.patch_share is not None:
        assert search.patch_share == method.bound


def test_inspections_without_images() -> None:
    lacking = [name for name, entry in INSPECTION_METHODS.items() if not entry.needs_images]
    assert lacking == [names.DEEP_INSPECT] == [deep_inspect.NAME]


def test_defaults() -> None:
    assert BuildOptions().form == names.FORMS[0]
    assert BuildOptions().augment == names.AUGMENT[0] == "standard"
    for augment in names.AUGMENT:
        assert BuildOptions(augment=augment).augment == augment
    assert names.LEVELS == input_box.LEVELS
    assert names.ANOMALY_INDEX == screening.THRESHOLD
    assert names.FURTHER_ANOMALY_INDEX == FURTHER_INDEX
    assert names.REDUCING == REDUCING
    assert names.COMPONENTS == activation_clustering.COMPONENTS
    assert names.NEURON_INSPECT == neuron_inspect.NAME
    assert tuple(neuron_inspect.WEIGHTS.values()) == names.SALIENCY_WEIGHTS
    assert names.META_CLASSIFIER == meta_classifier.NAME
    assert names.SHADOWS == meta_classifier.DEFAULT_SHADOWS
    assert names.MIN_SHADOWS == meta_classifier.MIN_SHADOWS
    assert names.QUERIES == meta_classifier.DEFAULT_QUERIES
    for name in ("EPOCHS", "RETRAINING_EPOCHS", "RATE", "ACCURACY_LOSS", "STAMPED"):
        assert getattr(names, name) == getattr(defaults, name)


def test_the_groups_are_those_of_the_registries() -> None:
    assert SEARCH_METHODS.group == names.SEARCHES_ADDED
    assert INSPECTION_METHODS.group == names.INSPECTIONS_ADDED
    assert POOL_METHODS.group == names.SPLITS_ADDED
    assert SANITIZE_METHODS.group == names.SANITIZERS_ADDED


def test_installed_packages_add_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def entry_points(group: str) -> list[EntryPoint]:
        read.append(group)
        return [EntryPoint(name, "theirs:search", group) for name in ("theirs", "additive")]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    choices = names.Choices(("smooth", "additive"), names.SEARCHES_ADDED)
    assert "additive" in choices
    assert read == []
    assert "theirs" in choices
    assert "magic" not in choices
    assert list(choices) == ["smooth", "additive", "theirs"]
    assert len(choices) == 3
