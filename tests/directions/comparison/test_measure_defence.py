import copy
import threading

import pytest
import torch

from tests.directions.comparison.hand_made import given, subject
from torchserve_fire_build.common.errors import SanitizeError
from torchserve_fire_build.common.names import OURS
from torchserve_fire_build.comparison import measure_defence as module
from torchserve_fire_build.comparison.measure_defence import DefenceFailed, measure_defence
from torchserve_fire_build.comparison.parts import draw
from torchserve_fire_build.rivals.rival import Answers, RivalNotApplicable


def measured(name, of=None):
    of = of or subject()
    return measure_defence(name, of, draw(of.calibration, 30, 0), 0)


def test_no_repair_is_the_model_as_it_is():
    found = measured("no_repair").measured
    assert (found.clean_accuracy, found.attack_success_rate, found.recovered_accuracy) == (1, 1, 0)
    assert found.flagged_clean is None
    assert (found.passes_clean, found.passes_triggered) == (1, 1)


def test_ours_repairs_and_leaves_the_model_as_it_was():
    of = subject()
    before = {name: value.clone() for name, value in of.model.state_dict().items()}
    found = measured(OURS, of).measured
    assert (found.clean_accuracy, found.attack_success_rate, found.recovered_accuracy) == (1, 0, 1)
    assert (found.flagged_clean, found.flagged_triggered) == (0, 1)
    assert all(torch.equal(value, before[name]) for name, value in of.model.state_dict().items())
    assert not any(module._forward_hooks for module in of.model.modules())


@pytest.mark.parametrize("name", ["fire_every_input", "projection_removal", "leace"])
def test_rivals_work_on_models_of_anything(name):
    assert measured(name).measured.recovered_accuracy == 1


@pytest.mark.parametrize("name", ["jpeg", "blur", "shrinkpad", "patching", "neural_polarizer"])
def test_what_changes_images_is_not_applicable_to_vectors(name):
    assert measured(name).not_applicable == "it changes images, and the model takes tensors"


def test_the_class_is_built_anew_where_it_can_be():
    assert measured("retraining", subject(given(kind="map"), kind="map")).measured is not None
    with pytest.raises(RivalNotApplicable, match="Linear cannot be built without arguments"):
        module._fresh(torch.nn.Linear(2, 3))()


def test_a_model_that_cannot_be_copied_is_loaded_again():
    of = subject()
    of.model.held = threading.Lock()
    with pytest.raises(TypeError):
        copy.deepcopy(of.model)
    assert measured(OURS, of).measured.recovered_accuracy == 1


def registering(monkeypatch, rival):
    monkeypatch.setattr(module, "RIVALS", {"theirs": rival})


def test_an_error_of_this_project_is_an_outcome_and_any_other_is_told_apart(monkeypatch):
    def refuses(model, granted, generator):
        raise SanitizeError("diverges\nat once")

    def breaks(model, granted, generator):
        raise RuntimeError("mat1 and mat2")

    registering(monkeypatch, refuses)
    assert measured("theirs").failed == "diverges"
    registering(monkeypatch, breaks)
    with pytest.raises(DefenceFailed, match="mat1 and mat2"):
        measured("theirs")


def test_every_test_sample_is_answered_and_the_draw_is_what_is_granted(monkeypatch):
    of, seen = subject(), []

    def remembers(model, granted, generator):
        seen.append((len(granted.evidence.clean), len(granted.pool), granted.target))
        seen.append(granted.labels.triggered.tolist() == granted.evidence.triggered.labels.tolist())

        def answer(inputs):
            return Answers(
                torch.ones(len(inputs), dtype=torch.int64), None, torch.full((len(inputs),), 3.0)
            )

        return answer

    registering(monkeypatch, remembers)
    found = measured("theirs", of).measured
    assert seen == [(30, 40, 0), True]
    # All are called class 1, as a quarter of the clean ones and a third of the attacked ones are.
    assert found.clean_accuracy == 0.25
    assert found.recovered_accuracy == pytest.approx(1 / 3)
    assert found.attack_success_rate == 0
    assert found.passes_clean == 3
