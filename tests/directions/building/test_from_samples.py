import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.directions.backdoored import (
    TENSOR,
    Sets,
    clean_inputs,
    labels_of,
    loaded,
    stamp,
    tensor_sets,
    two_trigger_sets,
    write_tensors,
)
from tests.directions.backdoored_nets import TokenNet, backdoored
from torchserve_fire.errors import AttachError, FireError
from torchserve_fire.format.bundle_file import bundle_to_bytes, save_bundle
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.model.state_digest import state_digest
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.building import assemble
from torchserve_fire_build.building.build_options import BuildOptions
from torchserve_fire_build.building.from_clean import build_from_clean
from torchserve_fire_build.building.from_pool import build_from_pool
from torchserve_fire_build.building.from_quarantine import refine_bundle
from torchserve_fire_build.building.from_samples import build_bundle, build_from_evidence
from torchserve_fire_build.common.errors import CalibrationError, OptionError, SamplesError
from torchserve_fire_build.inspection.inspect_model import inspect_model
from torchserve_fire_build.measure.evaluate import evaluate_bundle
from torchserve_fire_build.measure.memorised import Memorised
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.samples.samples import Samples
from torchserve_fire_build.samples.tensor_samples import TensorSamples


def opened(sets):
    """The samples of both files."""
    return open_samples(sets.clean, TENSOR), open_samples(sets.triggered, TENSOR)


def build(sets, kind, *, drive=50.0, **options):
    return build_bundle(loaded(kind, drive=drive), *opened(sets), **options).bundle


def evaluate(bundle, sets, kind):
    return evaluate_bundle(backdoored(kind), bundle, *opened(sets))


def assert_repaired(figures):
    """What a repair of these nets must reach on samples that its build never saw."""
    assert figures.target == 0
    assert figures.clean_accuracy[0] == 1
    assert figures.attack_success_rate[0] == 1
    assert figures.recovered_accuracy[0] == 0
    assert figures.clean_accuracy[1] >= 0.99
    assert figures.attack_success_rate[1] <= 0.02
    assert figures.recovered_accuracy[1] >= 0.98


@pytest.mark.parametrize("form", ["gated", "shift", "clamp"])
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("kind", ["vector", "token", "map"])
@pytest.mark.slow
def test_a_backdoor_is_repaired(tmp_path, kind, paired, form):
    sets = tensor_sets(tmp_path / "c", kind, paired=paired)
    bundle = build(sets, kind, form=form, augment="none")
    assert bundle.evidence["paired"] == paired
    assert bundle.evidence["labels"]
    held_out = bundle.held_out
    assert held_out["attack_success_rate"]["before"] == 1
    assert held_out["attack_success_rate"]["after"] <= 0.05
    assert held_out["recovered_accuracy"]["after"] >= 0.95
    assert held_out["clean_accuracy"]["after"] >= 0.99
    assert held_out["recovered_accuracy"]["ceiling"] == (1 if paired else None)
    assert bool(bundle.detecting_layers) == (form == "gated")
    expected = {"gated": {"shift", "affine", "local"}, "shift": {"shift"}, "clamp": {"clamp"}}[form]
    assert {layer.correction.form for layer in bundle.repairing_layers} <= expected
    figures = evaluate(bundle, tensor_sets(tmp_path / "e", kind, seed=5, count=200), kind)
    assert_repaired(figures)
    assert figures.ceiling == 1
    if form == "gated":
        assert figures.flagged[0] <= 0.02
        assert figures.flagged[1] >= 0.98


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_without_labels(tmp_path, kind, paired):
    sets = tensor_sets(tmp_path / "c", kind, paired=paired, labelled=False, suffix=".safetensors")
    bundle = build(sets, kind)
    assert not bundle.evidence["labels"]
    recovered = bundle.held_out["recovered_accuracy"]
    if paired:
        assert recovered["after"] >= 0.95  # By what the model says of the partners.
    else:
        assert set(recovered.values()) == {None}
    # A quarter is of class 0 by nature; without labels and without pairs nobody knows which.
    by_nature = 0 if paired else 0.25
    assert bundle.held_out["attack_success_rate"]["after"] <= by_nature + 0.05
    assert_repaired(evaluate(bundle, tensor_sets(tmp_path / "e", kind, seed=5, count=200), kind))


@pytest.mark.parametrize(
    ("repairs", "form"),
    [(("mean_difference",), "shift"), (("local_2",), "local"), (("transport",), "affine")],
)
def test_the_choice_is_among_the_named_repairs(tmp_path, repairs, form):
    evidence = gather_evidence(*opened(tensor_sets(tmp_path, "map")))
    options = BuildOptions(repairs=repairs, augment="none")
    bundle = build_from_evidence(loaded("map"), evidence, options).bundle
    assert [layer.correction.form for layer in bundle.repairing_layers] == [form]
    assert bundle.evidence["estimator"] in repairs


@pytest.mark.parametrize("paired", [True, False])
def test_a_trigger_without_a_fixed_place_is_repaired(tmp_path, paired):
    labels = labels_of(60)
    clean = clean_inputs("map", labels, 0)
    other = clean if paired else clean_inputs("map", labels.flip(0), 1)
    sets = Sets(
        write_tensors(tmp_path / "c.npz", clean, labels),
        write_tensors(
            tmp_path / "t.npz",
            stamp("map", other, moving=True),
            labels if paired else labels.flip(0),
        ),
    )
    bundle = build(sets, "map")
    assert_repaired(evaluate(bundle, sets, "map"))


def test_a_few_samples_of_other_classes_are_enough(tmp_path):
    # What somebody has who collected flagged requests: none of the target's own class.
    labels = 1 + torch.arange(12) % 3
    sets = tensor_sets(tmp_path / "c", "token", count=60)
    other = stamp("token", clean_inputs("token", labels, 7))
    few = Sets(sets.clean, write_tensors(tmp_path / "few.npz", other, labels))
    bundle = build(few, "token")
    assert bundle.evidence["triggered"] == 12
    assert not bundle.evidence["paired"]
    assert_repaired(evaluate(bundle, tensor_sets(tmp_path / "e", "token", seed=5), "token"))


def test_images_that_the_model_knows_by_heart_are_said_and_kept(tmp_path, logged, monkeypatch):
    found = Memorised(0.995, 0.95, 2)
    monkeypatch.setattr(assemble, "find_memorised", lambda model, observation: found)
    bundle = build(tensor_sets(tmp_path, "vector"), "vector")
    assert found.describe() in logged.messages
    expected = {"accuracy": 0.995, "accuracy_moved": 0.95, "pixels": 2}
    assert bundle.held_out["memorised"] == expected


def test_what_is_found_is_logged(tmp_path, logged):
    build(tensor_sets(tmp_path, "vector"), "vector")
    lines, text = logged.messages, "\n".join(logged.messages)
    assert lines[0] == "paired: 40 triggered samples with their clean partners, 40 clean"
    assert "target: class 0" in lines
    assert "triggered samples predicted as class 0: 40 of 40" in lines
    assert "repairs: " in text
    assert "recovered accuracy" in text


def test_a_build_returns_what_the_bundle_was_chosen_from(tmp_path):
    built = build_bundle(loaded("vector"), *opened(tensor_sets(tmp_path, "vector")))
    (record,), (figures,) = built.records, built.figures
    assert record.target == built.bundle.target == figures.target == 0
    assert set(record.layers) >= {layer.name for layer in built.bundle.layers}
    assert {"folds": 4, **figures.to_json()} == built.bundle.held_out
    # They are of choices that were made without the sample.
    right = record.left_out.predictions.triggered == record.held_out.triggered.reference
    others = record.held_out.triggered.reference != 0
    assert figures.recovered_accuracy[1] == pytest.approx(float(right[:, others].double().mean()))
    assert figures.counts == (40, int(others.sum()))
    assert (built.split, built.split_samples) == (None, None)
    assert built.bundle.digest == ""


def test_a_module_in_memory_and_samples_in_memory(tmp_path):
    labels, model = labels_of(40), backdoored("vector")
    inputs = clean_inputs("vector", labels, 0)
    clean = TensorSamples(inputs, labels)
    triggered = TensorSamples(stamp("vector", inputs).numpy(), labels.tolist())
    bundle = build_bundle(model, clean, triggered).bundle
    assert (bundle.model_class, bundle.weights_sha256) == ("VectorNet", None)
    assert bundle.state_sha256 == state_digest(model)
    of_files = build(tensor_sets(tmp_path, "vector"), "vector")
    assert replace(bundle, weights_sha256=of_files.weights_sha256, layers=()) == replace(
        of_files, layers=()
    )
    test = tensor_sets(tmp_path / "e", "vector", seed=5)
    assert_repaired(evaluate(save_bundle(bundle, tmp_path / "b.safetensors"), test, "vector"))


def test_each_sample_of_a_folder_is_decoded_once(tmp_path):
    class Decoded(Samples):
        """As a folder is read: nothing of it lies in memory."""

        def __init__(self, samples):
            super().__init__("d", samples.names, samples.description, labels=samples.labels)
            self.numbered, self.samples, self.decoded = True, samples, torch.zeros(len(samples))

        def load(self, indices):
            self.decoded += torch.bincount(torch.tensor(indices), minlength=len(self))
            return self.samples.load(indices)

    clean, triggered = (Decoded(each) for each in opened(tensor_sets(tmp_path, "vector")))
    bundle = build_bundle(loaded("vector"), clean, triggered).bundle
    assert len(bundle.layers) > 0
    # And once more the first, to see whether the rows are pairs.
    for each in (clean, triggered):
        assert int(each.decoded.max()) <= 3
        assert float(each.decoded.mean()) <= 2.1


# What is given.


def test_named_layers_are_used(tmp_path):
    sets = tensor_sets(tmp_path, "vector")
    for layers in (["relu"], ["mix", "relu"]):
        bundle = build(sets, "vector", layers=layers)
        assert {layer.name for layer in bundle.layers} <= set(layers)
        assert_repaired(evaluate(bundle, tensor_sets(tmp_path / "e", "vector", seed=5), "vector"))


def test_a_named_layer_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(AttachError, match=r"'rule'.*relu"):
        build(tensor_sets(tmp_path, "vector"), "vector", layers=["rule"])


class Rows(TokenNet):
    """Each token is a row of its own to the first layer."""

    def forward(self, x):
        return self.head(self.relu(self.mix(x.flatten(0, 1))).view(x.shape).mean(1))


def build_rows(folder, layers):
    model = backdoored("token")
    model.__class__ = Rows
    return build_bundle(model, *opened(tensor_sets(folder, "token")), layers=layers)


def test_a_model_without_rows_per_sample_is_refused(tmp_path):
    with pytest.raises(CalibrationError, match="Rows: no layer"):
        build_rows(tmp_path, None)


def test_a_named_layer_with_other_rows_than_the_samples_is_refused(tmp_path):
    with pytest.raises(FireError, match="'mix'"):
        build_rows(tmp_path, ["mix"])


def test_a_layer_that_is_named_twice_counts_once(tmp_path):
    sets = tensor_sets(tmp_path, "vector")
    assert {layer.name for layer in build(sets, "vector", layers=["relu", "relu"]).layers} == {
        "relu"
    }


def test_a_given_target_is_used(tmp_path):
    sets = tensor_sets(tmp_path, "vector")
    bundle = build(sets, "vector", target=0)
    assert bundle.target == 0
    assert_repaired(evaluate(bundle, tensor_sets(tmp_path / "e", "vector", seed=5), "vector"))


def test_a_wrong_target_is_refused(tmp_path):
    with pytest.raises(CalibrationError, match=r"as class 2, .* as class 0: give another --target"):
        build(tensor_sets(tmp_path, "vector"), "vector", target=2)


@pytest.mark.parametrize("target", [4, -1])
def test_a_target_that_the_model_does_not_have_is_refused(tmp_path, target):
    with pytest.raises(CalibrationError, match="the classes 0 to 3"):
        build(tensor_sets(tmp_path, "vector"), "vector", target=target)


# Several triggers.


def build_two(sets, kind, **options):
    return build_bundle(loaded(kind, second_trigger=True), *opened(sets), **options)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("kind", ["vector", "token"])
def test_two_triggers_get_a_repair_each(tmp_path, logged, kind, paired):
    sets = two_trigger_sets(tmp_path / "c", kind, paired=paired)
    built = build_two(sets, kind)
    bundle = save_bundle(built.bundle, tmp_path / "b.safetensors")
    assert sorted(bundle.targets) == [0, 1]
    assert bundle.targets[0] == bundle.target
    assert all(repair.only_target for repair in bundle.repairs)
    assert [record.target for record in built.records] == list(bundle.targets)
    assert [figures.target for figures in built.figures] == list(bundle.targets)
    for record in built.records:
        # The samples of the other trigger took no part.
        assert set(record.held_out.triggered.predictions.tolist()) == {record.target}
    assert "target: classes 0 and 1, each of a trigger of its own" in logged.messages
    for target in ("0", "1"):
        assert f"triggered samples predicted as class {target}: 40 of 80" in logged.messages
        assert f"trigger of class {target}:" in logged.messages
        assert bundle.evidence["targets"][target]["triggered_as_target"] == 40
        held_out = bundle.held_out["targets"][target]
        assert held_out["target"] == int(target)
        assert held_out["counts"]["triggered"] == 30
        assert held_out["attack_success_rate"]["before"] == 1
        assert held_out["recovered_accuracy"]["after"] >= 0.95
        assert held_out["clean_accuracy"]["after"] == 1
    test = two_trigger_sets(tmp_path / "e", kind, seed=5)
    figures = evaluate_bundle(backdoored(kind, second_trigger=True), bundle, *opened(test))
    assert figures.attack_success_rate[0] == 0.75
    assert figures.attack_success_rate[1] <= 0.02
    assert figures.recovered_accuracy[1] >= 0.98
    assert figures.clean_accuracy[1] >= 0.99


def test_two_triggers_without_labels_and_without_pairs(tmp_path):
    sets = two_trigger_sets(tmp_path, "vector", paired=False, labelled=False)
    bundle = build_two(sets, "vector").bundle
    assert sorted(bundle.targets) == [0, 1]
    for figures in bundle.held_out["targets"].values():
        assert figures["attack_success_rate"]["after"] <= 0.05


def test_a_given_target_or_plain_fire_makes_one_repair_of_two_triggers(tmp_path):
    sets = two_trigger_sets(tmp_path, "vector")
    for options in ({"target": 1}, {"form": "shift"}):
        bundle = build_two(sets, "vector", **options).bundle
        assert len(bundle.repairs) == 1
        assert all(layer.target is None for layer in bundle.layers)
        assert "targets" not in bundle.held_out


def test_triggers_with_known_targets_are_repaired_from_few_samples(tmp_path):
    files = few_of_the_second(tmp_path, 40, 8)
    assert build_two(files, "vector").bundle.targets == (0,)
    evidence, options = gather_evidence(*opened(files)), BuildOptions(several=(0, 1))
    model = loaded("vector", second_trigger=True)
    assert build_from_evidence(model, evidence, options).bundle.targets == (0, 1)


def few_of_the_second(folder, of_first, of_second):
    """Sets of some samples led to class 0, and fewer, none of which is of class 1, led there."""
    sets = two_trigger_sets(folder, "vector")
    rows = [i for i in range(80) if i % 8 < 4][:of_first]
    rows += [i for i in range(80) if i % 8 >= 4 and i % 4 != 1][:of_second]
    files = []
    for name, path in (("few_clean", sets.clean), ("few_triggered", sets.triggered)):
        file = np.load(path)
        inputs, labels = (torch.from_numpy(file[key][rows]) for key in ("inputs", "labels"))
        files.append(write_tensors(folder / f"{name}.npz", inputs, labels))
    return Sets(*files)


def test_too_few_samples_of_one_of_two_triggers_are_refused(tmp_path):
    few = few_of_the_second(tmp_path, 8, 3)
    with pytest.raises(CalibrationError, match=r"3 of 11 .* class 1, expected at least 4"):
        build_two(few, "vector")


def test_one_sample_of_each_trigger_in_each_fold_is_enough(tmp_path):
    bundle = build_two(few_of_the_second(tmp_path, 10, 4), "vector").bundle
    assert sorted(bundle.targets) == [0, 1]
    assert bundle.evidence["targets"]["1"]["triggered_as_target"] == 4
    for figures in bundle.held_out["targets"].values():
        assert figures["attack_success_rate"]["after"] == 0


# What shows no trigger.


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("paired", [True, False])
def test_a_benign_model_gets_no_bundle(tmp_path, paired, labelled):
    sets = tensor_sets(tmp_path, "vector", paired=paired, labelled=labelled)
    with pytest.raises(CalibrationError) as caught:
        build(sets, "vector", drive=0)
    assert "\n" not in str(caught.value)
    assert "trigger" in str(caught.value)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("form", ["gated", "shift", "clamp"])
def test_samples_without_a_trigger_give_no_bundle(tmp_path, paired, labelled, form):
    sets = tensor_sets(tmp_path, "map", paired=paired, labelled=labelled, triggered=False)
    # Without a trigger, the samples of a pair are the same.
    with pytest.raises(SamplesError if paired else CalibrationError):
        build(sets, "map", form=form)


def clean_of_class_1(folder, kind, *, labelled):
    """Clean samples and, as if triggered, other clean ones of class 1: predictions lead there."""
    sets = tensor_sets(folder, kind, labelled=labelled)
    labels = torch.ones(30, dtype=torch.int64)
    other = clean_inputs(kind, labels, 8)
    path = write_tensors(folder / "one.npz", other, labels if labelled else None)
    return Sets(sets.clean, path)


@pytest.mark.parametrize("target", [None, 1])
@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_clean_samples_of_one_class_are_no_trigger(tmp_path, kind, target):
    with pytest.raises(CalibrationError):
        build(clean_of_class_1(tmp_path, kind, labelled=True), kind, target=target)


@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_clean_samples_of_one_class_without_labels_do_no_harm(tmp_path, kind):
    # Nothing shows here that they are no trigger, but nothing separates them from clean samples.
    try:
        bundle = build(clean_of_class_1(tmp_path, kind, labelled=False), kind)
    except CalibrationError:
        return
    figures = evaluate(bundle, tensor_sets(tmp_path / "e", kind, seed=5, count=200), kind)
    assert figures.clean_accuracy[1] >= 0.97


# What cannot be used.


@pytest.mark.parametrize("paired", [True, False])
def test_five_triggered_samples_are_enough(tmp_path, paired):
    few = tensor_sets(tmp_path, "vector", count=5)
    clean = few if paired else tensor_sets(tmp_path / "many", "vector", seed=4)
    bundle = build(Sets(clean.clean, few.triggered), "vector", unpaired=not paired)
    assert_repaired(evaluate(bundle, tensor_sets(tmp_path / "e", "vector", seed=5), "vector"))


def test_too_few_samples_are_refused(tmp_path):
    with pytest.raises(FireError, match=r"3\b.*at least 4"):
        build(tensor_sets(tmp_path, "vector", count=3), "vector")


def test_samples_that_the_model_does_not_take_are_refused(tmp_path):
    labels = labels_of(12)
    inputs = torch.rand(12, 5)
    sets = Sets(
        write_tensors(tmp_path / "c.npz", inputs, labels),
        write_tensors(tmp_path / "t.npz", inputs + 1, labels),
    )
    with pytest.raises(FireError) as caught:
        build(sets, "vector")
    assert "\n" not in str(caught.value)
    assert "VectorNet" in str(caught.value)


@pytest.mark.parametrize("label", [4, -1])
def test_labels_that_the_model_does_not_have_are_refused(tmp_path, label):
    sets = tensor_sets(tmp_path, "vector")
    labels = labels_of(40)
    labels[3] = label
    path = write_tensors(
        tmp_path / "wrong.npz", open_samples(sets.triggered, TENSOR).load(range(40)), labels
    )
    with pytest.raises(SamplesError, match=f"label {label}"):
        build(Sets(sets.clean, path), "vector")


def test_a_model_without_rows_of_logits_is_refused(tmp_path):
    model = loaded("map")
    model.model.head = torch.nn.Unflatten(1, (2, 36)).eval()
    sets = tensor_sets(tmp_path, "map")
    with pytest.raises(FireError, match="expected logits"):
        build_bundle(model, *opened(sets))


# The same again.


@pytest.mark.parametrize("paired", [True, False])
def test_the_same_samples_and_seed_give_the_same_bytes(tmp_path, paired):
    files = []
    for i, folder in enumerate(("one", "another place")):
        sets = tensor_sets(tmp_path / folder, "token", paired=paired)
        path = tmp_path / f"{i}.safetensors"
        save_bundle(build(sets, "token", seed=3), path)
        files.append(path.read_bytes())
    assert files[0] == files[1]
    assert str(tmp_path).encode() not in files[0]
    assert b"another place" not in files[1]
    assert b"npz" not in files[0]


def test_the_global_generator_is_neither_used_nor_touched(tmp_path):
    sets = tensor_sets(tmp_path, "vector")
    model = loaded("vector")
    digests = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        bundle = build_bundle(model, *opened(sets)).bundle
        assert torch.equal(torch.get_rng_state(), state)
        digests.add(save_bundle(bundle, tmp_path / "b.safetensors").digest)
    assert len(digests) == 1


def test_the_seed_is_kept_and_may_change_what_is_held_out(tmp_path):
    sets = tensor_sets(tmp_path, "vector")
    bundles = [build(sets, "vector", seed=seed) for seed in (0, 9)]
    assert [bundle.seed for bundle in bundles] == [0, 9]
    for bundle in bundles:
        assert_repaired(evaluate(bundle, tensor_sets(tmp_path / "e", "vector", seed=5), "vector"))


def test_the_bundle_records_how_it_was_built(tmp_path):
    bundle = build(tensor_sets(tmp_path, "vector", count=44), "vector", seed=5)
    assert bundle.model_class == "VectorNet"
    assert bundle.weights_sha256 == "0" * 64
    assert (bundle.input.kind, bundle.input.shape) == ("tensor", (6,))
    evidence = dict(bundle.evidence)
    assert evidence["clean"] == evidence["triggered"] == evidence["triggered_as_target"] == 44
    assert set(bundle.versions) == {"python", "torchserve-fire", "torch", "numpy"}
    json.dumps({**bundle.held_out}, allow_nan=False)


def test_the_model_is_not_changed(tmp_path):
    sets = tensor_sets(tmp_path, "vector")
    model = loaded("vector")
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    build_bundle(model, *opened(sets))
    after = model.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.modules())


def test_swapped_samples_are_refused(tmp_path):
    sets = tensor_sets(tmp_path, "vector")
    with pytest.raises(SamplesError, match="are --clean and --triggered swapped"):
        build(Sets(sets.triggered, sets.clean), "vector")


class RotatingNet(nn.Module):
    """Vectors (N, 5): the class is the largest of the first four; a fifth of 3 makes it the next.

    Of eight hidden units, four hold the classes on and four hold them only beside the trigger.
    """

    def __init__(self):
        super().__init__()
        self.mix, self.head = nn.Linear(5, 8), nn.Linear(8, 4)
        eye, zeros = torch.eye(4), torch.zeros(4, 1)
        with torch.no_grad():
            self.mix.weight.copy_(torch.cat([torch.cat([eye, zeros], 1), torch.ones(4, 5)]))
            self.mix.weight[4:, :4] = eye
            self.mix.bias.copy_(torch.tensor([0.0] * 4 + [-3.0] * 4))
            self.head.weight.copy_(torch.cat([5 * eye, 15 * eye.roll(1, 0)], 1))
            self.head.bias.zero_()
        self.eval()

    def forward(self, x):
        return self.head(self.mix(x).relu())


def test_an_all_to_all_attack_that_the_predictions_do_not_show_is_repaired(tmp_path):
    inputs = torch.cat([clean_inputs("vector", labels_of(160), 0)[:, :4], torch.zeros(160, 1)], 1)
    triggered = inputs[80:].clone()
    triggered[:, 4] = 3
    net, truth = RotatingNet(), labels_of(160)[80:]
    assert torch.equal(net(triggered).argmax(1), (truth + 1) % 4)
    evidence = gather_evidence(
        open_samples(write_tensors(tmp_path / "clean.npz", inputs[:80]), TENSOR),
        open_samples(write_tensors(tmp_path / "triggered.npz", triggered), TENSOR),
    )
    given = LoadedModel(net, "RotatingNet", "0" * 64)
    with pytest.raises(CalibrationError, match="they show no trigger"):
        build_from_evidence(given, evidence, BuildOptions())
    bundle = build_from_evidence(given, evidence, BuildOptions(all_to_all=True)).bundle
    with attach_layers(net, bundle.layers, triggered[:1], target=bundle.target), torch.no_grad():
        assert torch.equal(net(triggered).argmax(1), truth)
        assert torch.equal(net(inputs[80:]).argmax(1), truth)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"form": "Gated"}, "form 'Gated', expected one of gated, shift, clamp"),
        ({"augment": "weak"}, "augment 'weak', expected one of standard, none, strong"),
        ({"seed": 2**70}, "expected a whole number, 0 to 2"),
        ({"layers": "mix"}, "layers 'mix', expected a list of names"),
    ],
)
def test_an_option_that_is_none_is_refused(tmp_path, option, said):
    with pytest.raises(OptionError, match=said):
        build(tensor_sets(tmp_path, "vector"), "vector", **option)


def test_every_way_to_build_is_told_how_far_to_alter_triggers(tmp_path):
    model, (clean, triggered) = loaded("vector"), opened(tensor_sets(tmp_path, "vector"))
    bundle = build_bundle(model, clean, triggered).bundle
    for call in (
        lambda **options: build_bundle(model, clean, triggered, **options),
        lambda **options: build_from_pool(model, clean, **options),
        lambda **options: build_from_clean(model, clean, **options),
        lambda **options: refine_bundle(model, bundle, clean, triggered, **options),
    ):
        with pytest.raises(OptionError, match="augment 'weak', expected one of standard, none"):
            call(augment="weak")


def test_a_model_in_training_mode_is_refused_before_it_changes(tmp_path):
    model = nn.Sequential(nn.BatchNorm1d(6), backdoored("vector")).train()
    before = state_digest(model)
    sets = tensor_sets(tmp_path, "vector")
    clean, triggered = opened(sets)
    bundle = build(sets, "vector")
    for call in (
        lambda: build_bundle(model, clean, triggered),
        lambda: build_from_pool(model, clean),
        lambda: build_from_clean(model, clean),
        lambda: evaluate_bundle(model, bundle, clean, triggered),
        lambda: inspect_model(model, clean, methods=["neuron-inspect"]),
    ):
        with pytest.raises(AttachError, match=r"training mode: call model\.eval"):
            call()
    assert state_digest(model) == before


def test_what_are_no_samples_is_refused(tmp_path):
    model = loaded("vector")
    clean, triggered = opened(tensor_sets(tmp_path, "vector"))
    bundle = build_bundle(model, clean, triggered).bundle
    none = TensorSamples(torch.empty(0, 6))
    for wrong, said in ((none, "expected samples, found none"), ("clean", "str: expected samples")):
        for call in (
            lambda wrong=wrong: build_bundle(model, wrong, triggered),
            lambda wrong=wrong: build_bundle(model, clean, wrong),
            lambda wrong=wrong: build_from_pool(model, wrong),
            lambda wrong=wrong: evaluate_bundle(model.model, bundle, wrong, triggered),
        ):
            with pytest.raises(SamplesError, match=said):
                call()


def test_a_compiled_model_is_built_for_as_what_was_compiled(tmp_path):
    model, (clean, triggered) = backdoored("vector"), opened(tensor_sets(tmp_path, "vector"))
    compiled = build_bundle(torch.compile(model, backend="eager"), clean, triggered).bundle
    plain = build_bundle(model, clean, triggered).bundle
    assert bundle_to_bytes(compiled, "c") == bundle_to_bytes(plain, "p")
