from dataclasses import replace

import pytest
import torch

from tests.directions.backdoored import write_tensors
from tests.directions.inspection.shadows import (
    LABELS,
    inputs,
    known_trojan,
    network,
    task,
)
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.inspection import shadow_models
from torchserve_fire_build.inspection.meta_classifier import MIN_SHADOWS, MetaClassifier
from torchserve_fire_build.inspection.shadow_models import train_shadow
from torchserve_fire_build.samples.read_tensors import read_tensors

COUNT = 16


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("shadows")


@pytest.fixture
def clean(tmp_path):
    return read_tensors(write_tensors(tmp_path / "clean.npz", inputs(), LABELS))


@pytest.fixture
def one_backdoor(monkeypatch):
    """All backdoors alike, so that a few shadow models are enough to know one."""
    monkeypatch.setattr(shadow_models, "draw_trojan", known_trojan)


def suspect(number):
    """A model that is no shadow model of the meta-classifier; odd ones are backdoored."""
    model = network().eval()
    model.load_state_dict(train_shadow(task(seed=99), number).state)
    return model


def suspect_of_many_epochs(monkeypatch):
    with monkeypatch.context() as longer:
        longer.setattr(shadow_models, "EPOCHS", 40)
        return suspect(0)


def judged(model, clean, cache, *, shadows=COUNT, budget=None, labels=LABELS):
    generator = torch.Generator().manual_seed(0)
    clean.labels = labels
    meta = MetaClassifier(shadows, cache)
    return meta(model, clean, 4, generator, budget or Budget())


@pytest.mark.usefixtures("one_backdoor")
@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_backdoored_models_are_found_and_benign_ones_are_not(clean, cache, number):
    found = judged(suspect(number), clean, cache)
    assert found.backdoored is (number % 2 == 1)
    assert found.index is found.pictures is None
    assert f"{COUNT} of {COUNT} shadow models" in found.notes[0]
    assert "the paper: 4096" in found.notes[0]
    assert "AUC on 4 kept shadow models" in found.notes[1]


def test_a_meta_classifier_that_fails_on_shadow_models_does_not_tell(clean, monkeypatch):
    # A trigger that changes nothing leaves nothing to learn.
    def nothing(clean, classes, generator):
        trojan = known_trojan(clean, classes, generator)
        return replace(trojan, opacity=0 * trojan.opacity, share=0.01)

    monkeypatch.setattr(shadow_models, "draw_trojan", nothing)
    found = judged(suspect(0), clean, None, shadows=MIN_SHADOWS)
    assert found.found is None
    assert "too little to tell" in found.notes[1]


def test_a_model_that_knows_the_task_much_better_is_not_judged(clean, tmp_path, monkeypatch):
    monkeypatch.setattr(shadow_models, "EPOCHS", 1)
    found = judged(suspect_of_many_epochs(monkeypatch), clean, tmp_path)
    assert found.found is None
    assert "unlike this model" in found.notes[0]
    # It was found out before all of them were trained.
    assert len(list(tmp_path.glob("shadow-*"))) == MIN_SHADOWS


def test_too_few_shadow_models(clean, tmp_path):
    found = judged(suspect(0), clean, tmp_path / "none", budget=Budget(0))
    assert found.found is None
    assert f"0 of {COUNT} shadow models" in found.notes[0]
    assert f"needs {MIN_SHADOWS}" in found.notes[0]


def test_too_few_samples(tmp_path):
    few = read_tensors(write_tensors(tmp_path / "few.npz", inputs()[:9]))
    found = judged(suspect(0), few, None, labels=None)
    assert found.found is None
    assert "clean samples" in found.notes[0]


@pytest.mark.usefixtures("one_backdoor")
def test_without_labels_the_models_own_predictions_are_used(clean, cache):
    found = judged(suspect(1), clean, cache, labels=None)
    assert found.backdoored is True
