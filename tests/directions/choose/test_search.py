import pytest
import torch

from tests.directions.choose.prepared import inputs_of, prepared
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.choose import search
from torchserve_fire_build.choose.choice import FORMS
from torchserve_fire_build.choose.judge import Judge
from torchserve_fire_build.choose.race import FirstRace, Race
from torchserve_fire_build.choose.search import choose
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.measure.target import TargetFinding


def chosen(folder, kind, form, *, drive=50.0, single=True, layers=None, torn=False):
    layers = layers or (["stem", "relu"] if kind == "map" else ["mix", "relu"])
    case = prepared(folder, kind, layers, drive=drive, torn=torn)
    finding = TargetFinding(0, single)
    return choose(case.model, case.statistics, layers, case.held_out, finding, form=form)


def only_targets(record):
    """Whether each detecting layer of the bundle judges only what is predicted as the target."""
    layers = record.choice.layers(record.statistics)
    return [layer.detection.only_target for layer in layers if layer.detection]


@pytest.fixture
def judges(monkeypatch):
    """The judges of the searches that ran."""
    made = []

    class Noted(Judge):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(search, "Judge", Noted)
    return made


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_the_chosen_bundle_has_the_measured_figures(tmp_path, kind, form):
    record = chosen(tmp_path, kind, form)
    model, held_out, choice = record.model, record.held_out, record.choice
    assert choice.form == form
    assert (choice.detector is None) == (form != "gated")
    assert float((choice.result.rightness.triggered > 0.5).float().mean()) >= 0.95
    assert float((choice.result.rightness.clean > 0.5).float().mean()) == 1
    # The layers of the bundle, estimated from all samples, do the same to them.
    inputs = held_out.map(inputs_of)
    with (
        attach_layers(
            model, choice.layers(record.statistics), inputs.clean[:1], target=0
        ) as handle,
        torch.no_grad(),
    ):
        clean = model(inputs.clean).argmax(1)
        flagged = [handle.verdict.flagged]
        triggered = model(inputs.triggered).argmax(1)
        flagged.append(handle.verdict.flagged)
    assert torch.equal(clean, held_out.clean.reference)
    assert float((triggered == held_out.triggered.reference).float().mean()) >= 0.95
    assert torch.equal(flagged[0], choice.flagged.clean)
    others = held_out.triggered.reference != 0
    assert float((flagged[1] == choice.flagged.triggered)[others].float().mean()) >= 0.95


@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_unknown_true_classes_are_recovered(tmp_path, kind):
    record = chosen(tmp_path, kind, "gated", torn=True)
    held_out, choice = record.held_out, record.choice
    assert held_out.triggered.reference is None
    others = held_out.clean.predictions != 0  # The same images without the trigger.
    right = choice.result.predictions.triggered == held_out.clean.predictions
    assert float(right[others].float().mean()) >= 0.95
    assert float((choice.result.rightness.clean > 0.5).float().mean()) == 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("single", [True, False])
def test_all_repairs_are_judged_by_what_the_first_ones_agree_on(tmp_path, form, single, judges):
    choice = chosen(tmp_path, "vector", form, single=single, torn=True).choice
    (judge,) = judges
    group = judge._held_out.triggered
    # Gated and of one target, only what is predicted as that may be moved.
    eligible = group.predictions == 0 if form == "gated" and single else group.predictions >= 0
    unwanted = torch.zeros(40, dtype=torch.int64) if single else group.predictions
    assert not group.expected.gather(1, unwanted[:, None])[eligible].any()
    expected = group.logits.softmax(1)
    torch.testing.assert_close(group.expected[~eligible], expected[~eligible])
    before, after = judge.before.rightness.triggered, choice.result.rightness.triggered
    torch.testing.assert_close(after[~eligible], before[~eligible])
    assert float(after[eligible].mean()) > float(before[eligible].mean()) + 0.3


@pytest.mark.parametrize("paired", [True, False])
def test_with_pairs_there_is_no_consensus(tmp_path, paired, judges):
    before = chosen(tmp_path, "vector", "gated", torn=not paired).held_out.triggered.expected
    (judge,) = judges
    assert (judge._held_out.triggered.expected is before) == paired


def test_with_a_single_target_only_its_predictions_are_flagged(tmp_path):
    record = chosen(tmp_path, "vector", "gated")
    held_out, choice = record.held_out, record.choice
    assert choice.only_target
    assert not bool((choice.flagged.clean & (held_out.clean.predictions != 0)).any())
    assert only_targets(record) == [True]


def test_with_several_targets_every_sample_may_be_flagged(tmp_path):
    record = chosen(tmp_path, "vector", "gated", single=False)
    assert not record.choice.only_target
    assert only_targets(record) == [False]


def test_detecting_and_repairing_at_one_layer_is_one_layer(tmp_path):
    record = chosen(tmp_path, "vector", "gated", layers=["relu"])
    (layer,) = record.choice.layers(record.statistics)
    assert layer.role == "both"
    assert layer.name == "relu"


@pytest.mark.parametrize("form", FORMS)
def test_a_layer_at_which_nothing_differs_is_refused(tmp_path, form):
    with pytest.raises(CalibrationError) as caught:
        chosen(tmp_path, "map", form, layers=["still"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("fewest", "told"), [(1000, True), (1, False)])
def test_few_clean_samples_to_compare_with_are_told(tmp_path, monkeypatch, fewest, told):
    monkeypatch.setattr(search, "FEW_ALIKE", fewest)
    with pytest.raises(CalibrationError, match="no layer separates") as caught:
        chosen(tmp_path, "map", "gated", layers=["still"])
    assert ("add clean samples of class 0" in str(caught.value)) == told


@pytest.mark.parametrize("form", FORMS)
def test_without_anything_to_recover_there_is_no_choice(tmp_path, form):
    with pytest.raises(CalibrationError) as caught:
        chosen(tmp_path, "vector", form, drive=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("repairs", [["shrunken"], ["local_2", "channel_mean"]])
def test_only_the_named_repairs_are_chosen_from(tmp_path, repairs):
    case = prepared(tmp_path, "map", ["relu"])
    finding = TargetFinding(0, True)
    record = choose(case.model, case.statistics, ["relu"], case.held_out, finding, repairs=repairs)
    assert record.choice.repair.estimator in repairs


def test_the_record_says_what_was_chosen(tmp_path):
    record = chosen(tmp_path, "vector", "gated")
    assert record.target == 0
    assert record.layers == ["mix", "relu"]
    assert record.choice.detector in record.scores
    where = f"detects at {record.choice.detector[1]}, repairs at {record.choice.repair.layer}"
    assert repr(record) == f"<BuildRecord: class 0, {where}, chosen among 2 layers>"
    shift = chosen(tmp_path, "vector", "shift")
    where = f"repairs at {shift.choice.repair.layer}"
    assert repr(shift) == f"<BuildRecord: class 0, {where}, chosen among 2 layers>"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["vector", "token", "map"])
def test_stopping_early_changes_no_choice(tmp_path, monkeypatch, kind, form):
    stopped = []
    for race in (Race, FirstRace):

        def noted(self, logits, done, go_on=race.go_on):
            left = list(go_on(self, logits, done))
            stopped.append(len(left) < len(logits))
            return left

        monkeypatch.setattr(race, "go_on", noted)
    early = chosen(tmp_path / "early", kind, form).choice
    for race in (Race, FirstRace):
        monkeypatch.setattr(race, "go_on", lambda self, logits, done: logits)
    full = chosen(tmp_path / "full", kind, form).choice
    assert (early.repair, early.detector) == (full.repair, full.detector)
    assert (early.threshold, early.worth) == (full.threshold, full.worth)
    if form == "gated":
        assert any(stopped)
