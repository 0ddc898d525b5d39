from dataclasses import replace

import pytest
import torch

from tests.directions.backdoored import TENSOR, loaded, tensor_sets
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.choose.choice import FORMS
from torchserve_fire_build.choose.held_out import hold_out
from torchserve_fire_build.choose.search import Search
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.common.progress import Progress
from torchserve_fire_build.estimate.layer_statistics import collect_statistics
from torchserve_fire_build.measure.target import TargetFinding
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.folds import assign_folds
from torchserve_fire_build.samples.open_samples import open_samples


def searched(folder, kind, form, *, drive=50.0, single=True, layers=None, paired=True):
    sets = tensor_sets(folder, kind)
    evidence = gather_evidence(*(open_samples(p, TENSOR) for p in (sets.clean, sets.triggered)))
    evidence = evidence if paired else replace(evidence, partners=())
    generator = torch.Generator().manual_seed(0)
    folds = assign_folds(evidence, generator)
    model = loaded(kind, drive=drive).model
    layers = layers or (["stem", "relu"] if kind == "map" else ["mix", "relu"])
    with torch.no_grad():
        logits = [model(s.load(range(40))) for s in (evidence.clean, evidence.triggered)]
    with Progress("", 1) as progress:
        statistics = collect_statistics(
            model,
            layers,
            evidence,
            folds,
            clean_target=logits[0].argmax(1) == 0,
            use=torch.ones(40, dtype=torch.bool),
            progress=progress,
        )
    held_out = hold_out(
        evidence,
        folds,
        clean_logits=logits[0],
        triggered_logits=logits[1],
        clean_labels=None,
        triggered_labels=None,
        generator=generator,
    )
    search = Search(model, statistics, layers, held_out, TargetFinding(0, single), form)
    return model, held_out, statistics, search


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_what_is_chosen_does_what_was_measured(tmp_path, kind, form):
    model, held_out, statistics, search = searched(tmp_path, kind, form)
    choice = search.run()
    assert choice.form == form
    assert (choice.detector is None) == (form != "gated")
    assert float((choice.result.triggered > 0.5).float().mean()) >= 0.95
    assert float((choice.result.clean > 0.5).float().mean()) == 1
    # The layers of the bundle, estimated from all samples, do the same to them.
    example = held_out.clean.inputs[:1]
    with (
        attach_layers(model, choice.layers(statistics), example, target=0) as handle,
        torch.no_grad(),
    ):
        clean = model(held_out.clean.inputs).argmax(1)
        flagged = [handle.verdict.flagged]
        triggered = model(held_out.triggered.inputs).argmax(1)
        flagged.append(handle.verdict.flagged)
    assert torch.equal(clean, held_out.clean.reference)
    assert float((triggered == held_out.triggered.reference).float().mean()) >= 0.95
    assert torch.equal(flagged[0], choice.flagged[0])
    others = held_out.triggered.reference != 0
    assert float((flagged[1] == choice.flagged[1])[others].float().mean()) >= 0.95


@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_the_true_classes_are_recovered_though_nobody_knows_them(tmp_path, kind):
    _, held_out, _, search = searched(tmp_path, kind, "gated", paired=False)
    assert held_out.triggered.reference is None
    choice = search.run()
    others = held_out.clean.predictions != 0  # The same images without the trigger.
    right = choice.result.triggered_predictions == held_out.clean.predictions
    assert float(right[others].float().mean()) >= 0.95
    assert float((choice.result.clean > 0.5).float().mean()) == 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("single", [True, False])
def test_what_the_first_repairs_agree_on_is_what_all_are_judged_by(tmp_path, form, single):
    _, _, _, search = searched(tmp_path, "vector", form, single=single, paired=False)
    choice = search.run()
    group = search._held_out.triggered
    # Gated and of one target, only what is predicted as that may be moved.
    eligible = group.predictions == 0 if form == "gated" and single else group.predictions >= 0
    unwanted = torch.zeros(40, dtype=torch.int64) if single else group.predictions
    assert not group.expected.gather(1, unwanted[:, None])[eligible].any()
    expected = group.logits.softmax(1)
    torch.testing.assert_close(group.expected[~eligible], expected[~eligible])
    before, after = search._before.triggered, choice.result.triggered
    torch.testing.assert_close(after[~eligible], before[~eligible])
    assert float(after[eligible].mean()) > float(before[eligible].mean()) + 0.3


@pytest.mark.parametrize("paired", [True, False])
def test_of_pairs_nothing_is_agreed(tmp_path, paired):
    _, held_out, _, search = searched(tmp_path, "vector", "gated", paired=paired)
    before = held_out.triggered.expected
    search.run()
    assert (search._held_out.triggered.expected is before) == paired


def test_with_a_single_target_only_what_is_predicted_as_it_is_flagged(tmp_path):
    _, held_out, statistics, search = searched(tmp_path, "vector", "gated")
    choice = search.run()
    assert choice.only_target
    assert not bool((choice.flagged[0] & (held_out.clean.predictions != 0)).any())
    assert [x.detection.only_target for x in choice.layers(statistics) if x.detection] == [True]


def test_with_several_targets_every_sample_may_be_flagged(tmp_path):
    _, _, statistics, search = searched(tmp_path, "vector", "gated", single=False)
    choice = search.run()
    assert not choice.only_target
    assert [x.detection.only_target for x in choice.layers(statistics) if x.detection] == [False]


def test_telling_and_repairing_at_one_layer_is_one_layer(tmp_path):
    _, _, statistics, search = searched(tmp_path, "vector", "gated", layers=["relu"])
    (layer,) = search.run().layers(statistics)
    assert layer.role == "both"
    assert layer.name == "relu"


@pytest.mark.parametrize("form", FORMS)
def test_a_layer_at_which_nothing_differs(tmp_path, form):
    _, _, _, search = searched(tmp_path, "map", form, layers=["still"])
    with pytest.raises(CalibrationError) as caught:
        search.run()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_to_recover(tmp_path, form):
    _, _, _, search = searched(tmp_path, "vector", form, drive=0)
    with pytest.raises(CalibrationError) as caught:
        search.run()
    assert "\n" not in str(caught.value)
