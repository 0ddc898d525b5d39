import pytest
import torch

from directions.errors import CalibrationError
from directions.evidence import gather_evidence
from directions.folds import assign_folds
from directions.held_out import hold_out
from directions.moments import Moments
from directions.progress import Progress
from directions.samples import open_samples
from directions.search import FORMS, Candidate, Search, build_repairing_layer
from directions.statistics import LayerStatistics, collect_statistics
from directions.target import TargetFinding
from handler.attach import attach, build_correction
from tests.directions.backdoored import TENSOR, loaded, tensor_sets


def moments_of(values):
    moments = Moments()
    moments.add(torch.as_tensor(values, dtype=torch.float32))
    return moments


def searched(folder, kind, form, *, drive=50.0, single=True, layers=None):
    sets = tensor_sets(folder, kind)
    evidence = gather_evidence(*(open_samples(p, TENSOR) for p in (sets.clean, sets.triggered)))
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


# The clean features are 0 and 2 in the first coordinate; triggered, 4 is added to the second.
CLEAN, TRIGGERED = [[0.0, 1.0], [2.0, 1.0]], [[0.0, 5.0], [2.0, 5.0]]
STATISTICS = LayerStatistics(
    moments_of(CLEAN), Moments(), moments_of(TRIGGERED), moments_of([[0.0, 4.0]] * 2)
)


def test_a_shift_moves_triggered_samples_onto_clean_ones():
    layer = build_repairing_layer(Candidate("a", "mean_difference"), STATISTICS, None)
    assert (layer.name, layer.feature_shape, layer.role) == ("a", (2,), "repairs")
    moved = build_correction(layer.repairing)(torch.tensor(TRIGGERED))
    assert moved.tolist() == CLEAN


def test_the_strength_is_a_multiple_of_it():
    layer = build_repairing_layer(Candidate("a", "mean_difference", 0.5), STATISTICS, None)
    moved = build_correction(layer.repairing)(torch.tensor(TRIGGERED))
    assert moved.tolist() == [[0, 3], [2, 3]]


def test_a_clamp_moves_what_lies_beyond_the_clean_range_to_its_median():
    # Scores are 0 for the mean clean sample and 1 for the mean triggered one.
    layer = build_repairing_layer(Candidate("a", "mean_difference"), STATISTICS, (0.5, 0.25))
    assert layer.repairing.form == "clamp"
    clamp = build_correction(layer.repairing)
    features = torch.tensor([[0.0, 1.0], [7.0, 2.9], [7.0, 3.1], [2.0, 5.0]])
    expected = torch.tensor([[0.0, 1.0], [7.0, 2.9], [7.0, 2.0], [2.0, 2.0]])
    torch.testing.assert_close(clamp(features), expected)


def test_a_clamp_where_nothing_differs():
    same = LayerStatistics(moments_of(CLEAN), Moments(), moments_of(CLEAN), Moments())
    assert build_repairing_layer(Candidate("a", "mean_difference"), same, (1.0, 0.0)) is None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_what_is_chosen_does_what_was_measured(tmp_path, kind, form):
    model, held_out, statistics, search = searched(tmp_path, kind, form)
    choice = search.run()
    assert choice.form == form
    assert (choice.teller is None) == (form != "gated")
    assert float((choice.outcome.triggered > 0.5).float().mean()) >= 0.95
    assert float((choice.outcome.clean > 0.5).float().mean()) == 1
    # The layers of the bundle, estimated from all samples, do the same to them.
    example = held_out.clean.inputs[:1]
    with attach(model, choice.layers(statistics), example, target=0) as handle, torch.no_grad():
        clean = model(held_out.clean.inputs).argmax(1)
        flagged = [handle.verdict.flagged]
        triggered = model(held_out.triggered.inputs).argmax(1)
        flagged.append(handle.verdict.flagged)
    assert torch.equal(clean, held_out.clean.reference)
    assert float((triggered == held_out.triggered.reference).float().mean()) >= 0.95
    assert torch.equal(flagged[0], choice.flagged[0])
    others = held_out.triggered.reference != 0
    assert float((flagged[1] == choice.flagged[1])[others].float().mean()) >= 0.95


def test_with_a_single_target_only_what_is_predicted_as_it_is_flagged(tmp_path):
    _, held_out, statistics, search = searched(tmp_path, "vector", "gated")
    choice = search.run()
    assert choice.only_target
    assert not bool((choice.flagged[0] & (held_out.clean.predictions != 0)).any())
    assert [x.telling.only_target for x in choice.layers(statistics) if x.telling] == [True]


def test_with_several_targets_every_sample_may_be_flagged(tmp_path):
    _, _, statistics, search = searched(tmp_path, "vector", "gated", single=False)
    choice = search.run()
    assert not choice.only_target
    assert [x.telling.only_target for x in choice.layers(statistics) if x.telling] == [False]


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
