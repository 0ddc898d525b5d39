from dataclasses import replace

import pytest
import torch

from tests.directions.backdoored import (
    TENSOR,
    Sets,
    clean_inputs,
    labels_of,
    stamp,
    stamp_second,
    tensor_sets,
    two_trigger_sets,
    write_tensors,
)
from tests.directions.backdoored_nets import backdoored
from tests.handler.bundles import small_bundle
from torchserve_fire.errors import AttachError
from torchserve_fire.format.bundle import Detection, InputDescription, Layer
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.model.state_digest import state_digest
from torchserve_fire_build.common.errors import CalibrationError, SamplesError
from torchserve_fire_build.measure.evaluate import evaluate_bundle
from torchserve_fire_build.samples.open_samples import open_samples

CORNER = torch.tensor([0.0, 0, 0, 0, 1, 0])
BUNDLE = replace(
    small_bundle(),
    layers=(Layer("relu", (6,), Detection(CORNER, 1.0), Shift(2 * CORNER, 1.0)),),
    input=InputDescription("tensor", (6,)),
    target=0,
    model_class="VectorNet",
    state_sha256=state_digest(backdoored("vector")),
)
TWO = backdoored("vector", second_trigger=True)
OF_TWO = replace(BUNDLE, state_sha256=state_digest(TWO))
LEAD_TO_1 = "these samples lead to class 1, which this bundle does not repair"


@pytest.fixture(autouse=True)
def warned(caplog):
    """Takes the lines of warning out; what is left fails the test."""

    def take():
        lines = list(caplog.messages)
        caplog.clear()
        return lines

    yield take
    assert caplog.get_records("call") == []


def evaluate(sets, bundle=BUNDLE, model=None, **options):
    return evaluate_bundle(
        model or backdoored("vector"),
        bundle,
        open_samples(sets.clean, TENSOR),
        open_samples(sets.triggered, TENSOR),
        **options,
    )


def test_the_figures_of_a_bundle_made_by_hand(tmp_path):
    # More than one batch. The trigger is 2 at "relu", which the bundle takes back exactly.
    figures = evaluate(tensor_sets(tmp_path, "vector", count=200))
    assert figures.clean_accuracy == (1, 1)
    assert figures.attack_success_rate == (1, 0)
    assert figures.recovered_accuracy == (0, 1)
    assert figures.ceiling == 1
    assert figures.flagged == (0, 1)
    assert figures.counts == (200, 150)


def test_mistakes_of_the_model_count_in_the_ceiling(tmp_path):
    labels = labels_of(40)
    inputs = clean_inputs("vector", labels, 0)
    # The first eight are labelled one further: the model is wrong on these.
    labels[:8] = (labels[:8] + 1) % 4
    sets = Sets(
        write_tensors(tmp_path / "c.npz", inputs, labels),
        write_tensors(tmp_path / "t.npz", stamp("vector", inputs), labels),
    )
    figures = evaluate(sets)
    assert figures.clean_accuracy == (0.8, 0.8)
    # Ten are of the target's class, two of which it gets wrong.
    assert figures.counts == (40, 30)
    assert figures.ceiling == figures.recovered_accuracy[1] == 24 / 30
    # Two of those wrong ones are of class 0 as the model sees them, trigger or not.
    assert figures.attack_success_rate == (1, 2 / 30)


def test_samples_of_which_half_are_triggered(tmp_path):
    labels = labels_of(40)
    inputs = clean_inputs("vector", labels, 0)
    half = torch.where((torch.arange(40) < 20)[:, None], stamp("vector", inputs), inputs)
    sets = Sets(
        write_tensors(tmp_path / "c.npz", inputs, labels),
        write_tensors(tmp_path / "t.npz", half, labels),
    )
    figures = evaluate(sets)
    assert figures.attack_success_rate == (0.5, 0)
    assert figures.recovered_accuracy == (0.5, 1)
    assert figures.flagged == (0, 0.5)


def test_without_pairs_there_is_no_ceiling(tmp_path):
    figures = evaluate(tensor_sets(tmp_path, "vector", paired=False))
    assert figures.ceiling is None
    assert figures.recovered_accuracy == (0, 1)


def test_a_bundle_that_does_nothing_changes_nothing(tmp_path):
    (layer,) = BUNDLE.layers
    idle = replace(BUNDLE, layers=(replace(layer, detection=Detection(CORNER, 1e6)),))
    figures = evaluate(tensor_sets(tmp_path, "vector"), idle)
    assert figures.attack_success_rate == (1, 1)
    assert figures.flagged == (0, 0)


def test_without_a_detecting_layer_there_are_no_flagged_shares(tmp_path):
    (layer,) = BUNDLE.layers
    shift = replace(BUNDLE, layers=(replace(layer, detection=None),))
    assert evaluate(tensor_sets(tmp_path, "vector"), shift).flagged is None


def test_a_bundle_of_two_repairs_made_by_hand(tmp_path, warned):
    (layer,) = BUNDLE.layers
    other = torch.tensor([0.0, 0, 0, 0, 0, 1])
    layers = (
        replace(layer, detection=Detection(CORNER, 1.0, only_target=True), target=0),
        Layer(
            "relu",
            (6,),
            Detection(other, 1.0, only_target=True),
            Shift(2 * other, 1.0),
        ),
    )
    both = replace(OF_TWO, layers=(layers[0], replace(layers[1], target=1)))
    figures = evaluate(two_trigger_sets(tmp_path, "vector"), both, TWO)
    assert figures.clean_accuracy == (1, 1)
    # In eight, one of class 0 is led to 0 and one of class 1 to 1: these are right as they are.
    assert figures.attack_success_rate == (0.75, 0)
    assert figures.recovered_accuracy == (0.25, 1)
    assert figures.flagged == (0, 1)
    assert figures.counts == (80, 80)
    # With the first repair alone, as a bundle for one target: the other half stays as it was.
    one = replace(OF_TWO, layers=layers[:1])
    figures = evaluate(two_trigger_sets(tmp_path, "vector"), one, TWO)
    assert warned() == [f"{tmp_path / 'triggered.npz'}: before repair, {LEAD_TO_1}"]
    assert figures.counts == (80, 60)
    assert figures.attack_success_rate == (0.5, 0)
    assert figures.flagged == (0, 0.5)


def test_swapped_samples_are_refused(tmp_path):
    sets = tensor_sets(tmp_path, "vector")
    with pytest.raises(SamplesError, match="are --clean and --triggered swapped"):
        evaluate(Sets(sets.triggered, sets.clean))


@pytest.mark.parametrize("paired", [True, False])
def test_samples_that_show_no_trigger_are_warned_of(tmp_path, paired, warned):
    sets = tensor_sets(tmp_path, "vector", triggered=False, paired=paired)
    if paired:
        # What is the same to the byte is refused.
        write_tensors(
            sets.triggered, clean_inputs("vector", labels_of(40), 0) + 0.001, labels_of(40)
        )
    assert evaluate(sets).attack_success_rate == (0, 0)
    (line,) = warned()
    assert "they show no trigger of this model" in line


def test_samples_with_another_target_are_warned_of(tmp_path, warned):
    sets = tensor_sets(tmp_path, "vector")
    inputs = stamp_second("vector", clean_inputs("vector", labels_of(40), 0))
    write_tensors(sets.triggered, inputs, labels_of(40))
    evaluate(sets, OF_TWO, TWO)
    assert warned() == [f"{sets.triggered}: before repair, {LEAD_TO_1}"]


def test_samples_without_a_single_target_are_warned_of(tmp_path, warned):
    (layer,) = BUNDLE.layers
    labels, sets = labels_of(40), tensor_sets(tmp_path, "vector")
    # Of each class, the content is of another, and of class 0 none.
    content = torch.tensor([1, 2, 3, 1])[labels]
    write_tensors(sets.triggered, clean_inputs("vector", content, 1), labels)
    evaluate(sets)
    assert warned() == []
    one_target = replace(BUNDLE, layers=(replace(layer, detection=Detection(CORNER, 1.0, True)),))
    evaluate(sets, one_target)
    (line,) = warned()
    assert "these samples do not lead to class 0, as this bundle expects" in line


def test_without_labels_the_agreement_is_measured(tmp_path):
    figures = evaluate(tensor_sets(tmp_path, "vector", labelled=False))
    assert figures.by_agreement
    assert figures.clean_accuracy == (1, 1)
    assert figures.attack_success_rate[0] == 1
    assert figures.flagged == (0, 1)
    assert figures.recovered_accuracy is None
    assert figures.natural_rate is None


@pytest.mark.parametrize("label", [4, -1])
def test_labels_that_the_model_does_not_have_are_refused(tmp_path, label):
    labels = labels_of(8)
    labels[2] = label
    clean, triggered = (
        write_tensors(tmp_path / name, clean_inputs("vector", labels_of(8), seed), labels)
        for seed, name in enumerate(("c.npz", "t.npz"))
    )
    with pytest.raises(SamplesError, match=f"label {label}, expected .* 0 to 3"):
        evaluate(Sets(clean, triggered))


def test_samples_of_another_shape_than_the_bundles_are_refused(tmp_path):
    clean, triggered = (
        write_tensors(tmp_path / name, torch.full((8, 5), value), labels_of(8))
        for value, name in ((0.0, "c.npz"), (1.0, "t.npz"))
    )
    with pytest.raises(SamplesError, match=r"\(5,\).*\(6,\)"):
        evaluate(Sets(clean, triggered))


def test_a_bundle_for_another_model_is_refused(tmp_path):
    sets = tensor_sets(tmp_path, "vector")
    (layer,) = BUNDLE.layers
    with pytest.raises(AttachError, match="'rule'"):
        evaluate(sets, replace(BUNDLE, layers=(replace(layer, name="rule"),)))
    with pytest.raises(CalibrationError, match="MapNet: fails on inputs"):
        evaluate(sets, model=backdoored("map"))


def test_a_bundle_for_other_weights_is_measured_only_on_request(tmp_path):
    sets = tensor_sets(tmp_path, "vector")
    other = replace(BUNDLE, state_sha256="0" * 64)
    with pytest.raises(AttachError, match=f"the bundle was built for {'0' * 64}"):
        evaluate(sets, other)
    assert evaluate(sets, other, allow_other_weights=True) == evaluate(sets)


def test_the_model_is_not_changed(tmp_path):
    model = backdoored("vector")
    evaluate(tensor_sets(tmp_path, "vector"), model=model)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
