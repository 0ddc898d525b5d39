import pytest
import torch

from tests.directions.backdoored_nets import backdoored
from tests.directions.calibrated import calibrated
from tests.directions.choose.prepared import group_of
from torchserve_fire.format.bundle import Detection, Layer
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.choose import options
from torchserve_fire_build.choose.held_out import HeldOut
from torchserve_fire_build.choose.options import (
    Option,
    OptionRunner,
    Outcome,
    Outcomes,
    option_of,
)
from torchserve_fire_build.samples.folds import FOLDS

YES, NO = True, False


def outcome(flagged, predictions, unrepaired, rightness=None):
    rightness = predictions if rightness is None else rightness
    return Outcome(
        torch.tensor(flagged),
        torch.tensor(rightness, dtype=torch.float32),
        torch.tensor(predictions),
        torch.tensor(unrepaired),
    )


def test_a_sample_stays_with_the_first_repair_that_flags_it_unless_that_fails():
    # Flagged and repaired; flagged and still the target, with a next one that flags it and with
    # one that does not; not flagged, likewise.
    first = outcome([YES, YES, YES, NO, NO], [10, 11, 12, 13, 14], [NO, YES, YES, YES, YES])
    rest = outcome([YES, YES, NO, YES, NO], [20, 21, 22, 23, 24], [NO, NO, YES, NO, YES])
    after = first.then(rest)
    assert after.predictions.tolist() == [10, 21, 12, 23, 24]
    assert after.rightness.tolist() == [10, 21, 12, 23, 24]
    assert after.flagged.tolist() == [YES, YES, YES, YES, NO]
    assert after.unrepaired.tolist() == [NO, NO, YES, NO, YES]


def test_outcomes_go_on_group_by_group():
    first = Outcomes(*(outcome([flag], [1], [NO]) for flag in (NO, YES, NO)))
    rest = Outcomes(*(outcome([NO], [2], [NO]) for _ in range(3)))
    after = first.then(rest)
    assert [int(o.predictions[0]) for o in (after.clean, after.triggered, after.altered)] == [
        2,
        1,
        2,
    ]


def test_a_repeated_outcome_is_each_sample_in_turn_round_after_round():
    twice = outcome([YES, NO], [3, 0], [NO, YES]).repeated(2)
    assert twice.flagged.tolist() == [YES, NO, YES, NO]
    assert twice.predictions.tolist() == twice.rightness.tolist() == [3, 0, 3, 0]
    assert twice.unrepaired.tolist() == [NO, YES, NO, YES]


@pytest.mark.parametrize(("wanted", "unrepaired"), [(0, [NO, YES, YES, NO]), (None, [NO] * 4)])
def test_other_answers_in_the_place_of_an_outcomes_own(wanted, unrepaired):
    answers, flagged = torch.tensor([[3, 0], [0, 2]]), torch.tensor([[YES, NO], [NO, NO]])
    other = outcome([NO] * 4, [1, 1, 1, 1], [NO] * 4).answering(answers, flagged, wanted)
    assert other.predictions.tolist() == [3, 0, 0, 2]
    assert other.flagged.tolist() == [YES, NO, NO, NO]
    assert other.unrepaired.tolist() == unrepaired


# Run on a model.

MODEL = backdoored("vector")
TRIGGER = torch.tensor([0.0, 0, 0, 0, 2, 0])
"""What the vector net's trigger of 3 adds at "relu"."""


def vectors(classes, strength=0.0):
    inputs = torch.zeros(len(classes), 6)
    inputs[torch.arange(len(classes)), torch.tensor(classes)] = 1
    inputs[:, 4] = strength
    return inputs


def group(classes, strength=0.0):
    inputs = vectors(classes, strength)
    with torch.no_grad():
        logits = MODEL(inputs)
    reference = torch.tensor(classes)
    return group_of(inputs, [i % FOLDS for i in range(len(classes))], logits, reference)


def option(threshold=1.0, *, blind_fold=None, strength=1.0):
    """Flags what is above the threshold in the fifth coordinate, and moves the trigger back.

    What was estimated without one fold may flag nothing.
    """

    def layers(threshold):
        detection = Detection(TRIGGER / 2, threshold, True)
        return (Layer("relu", (6,), detection, Shift(TRIGGER, strength)),)

    of_folds = [layers(9.0 if fold == blind_fold else threshold) for fold in range(FOLDS)]
    return Option(["by hand"], layers(threshold), of_folds)


class Record:
    """Of a choice: what an `OptionRunner` takes of it."""

    target = 0
    held_out = HeldOut(group([0, 1, 2, 3, 1]), group([1, 2, 3, 1], 3.0))


def runner(*, wanted=0, altered=1.8):
    groups = HeldOut(Record.held_out.clean, group([1, 2, 3, 3, 2], altered))
    return OptionRunner(MODEL, Record(), groups, wanted)


def test_before_repair_nothing_is_flagged():
    before = runner().before()
    assert before.clean.predictions.tolist() == [0, 1, 2, 3, 1]
    assert before.triggered.predictions.tolist() == [0] * 4
    assert before.altered.predictions.tolist() == [0] * 5
    for each in (before.clean, before.triggered, before.altered):
        assert not each.flagged.any()
    assert before.clean.unrepaired.tolist() == [YES, NO, NO, NO, NO]
    assert bool(before.triggered.unrepaired.all())
    torch.testing.assert_close(before.clean.rightness, torch.ones(5), atol=1e-3, rtol=0)
    torch.testing.assert_close(before.altered.rightness, torch.zeros(5), atol=1e-3, rtol=0)


def test_what_an_option_flags_it_repairs():
    found = runner(altered=3.0).run(option(), "one")
    assert not found.clean.flagged.any()
    assert found.clean.predictions.tolist() == [0, 1, 2, 3, 1]
    assert bool(found.triggered.flagged.all())
    assert found.triggered.predictions.tolist() == [1, 2, 3, 1]
    assert found.altered.predictions.tolist() == [1, 2, 3, 3, 2]
    assert not found.altered.unrepaired.any()


def test_what_an_option_does_not_flag_stays_as_it_was():
    # An altered trigger of 1.8 is 0.8 at the layer: the model obeys it still.
    found = runner(altered=1.8).run(option(threshold=1.0), "one")
    assert not found.altered.flagged.any()
    assert found.altered.predictions.tolist() == [0] * 5
    assert bool(runner(altered=1.8).run(option(threshold=0.5), "one").altered.flagged.all())


def test_what_an_option_flags_may_stay_predicted_as_the_target():
    found = runner(altered=3.0).run(option(strength=0.5), "one")
    assert bool(found.altered.flagged.all())
    assert bool(found.altered.unrepaired.all())
    # In no way does the attacker want one class where nearly any is wanted.
    assert (
        not runner(altered=3.0, wanted=None)
        .run(option(strength=0.5), "one")
        .altered.unrepaired.any()
    )


def test_each_sample_is_run_with_what_was_estimated_without_it():
    found = runner(altered=3.0).run(option(blind_fold=2), "one")
    assert found.triggered.flagged.tolist() == [YES, YES, NO, YES]
    assert found.altered.flagged.tolist() == [YES, YES, NO, YES, YES]
    assert found.altered.predictions.tolist() == [1, 2, 0, 3, 2]


def test_repairs_are_attached_on_the_models_device(monkeypatch):
    given = []

    def noted(model, layers, example, **options):
        given.append(example.device.type)
        return attach_layers(model, layers, torch.zeros(1, 6), **options)

    monkeypatch.setattr(options, "device_of", lambda model: torch.device("meta"))
    monkeypatch.setattr(options, "attach_layers", noted)
    runner().run(option(), "one")
    assert given == ["meta"] * FOLDS


def test_the_model_is_left_as_it_was():
    runner().run(option(), "one")
    assert not any(module._forward_hooks for module in MODEL.modules())


@pytest.mark.parametrize("form", ["gated", "shift"])
def test_a_choice_as_an_option_fares_as_it_did(tmp_path, form):
    record, bundle = calibrated(tmp_path, "vector", form=form)
    chosen = option_of(record)
    assert [layer.name for layer in chosen.layers] == [layer.name for layer in bundle.layers]
    assert len(chosen.of_folds) == FOLDS
    assert any(line.startswith("repairs: ") for line in chosen.description)
    if form == "gated":
        found = OptionRunner(record.model, record, record.held_out, 0).run(chosen, "one")
        flagged = (found.clean.flagged.sum(), found.triggered.flagged.sum())
        assert tuple(map(int, flagged)) == (0, 40)
        assert torch.equal(found.triggered.predictions, record.held_out.triggered.reference)
        assert torch.equal(found.altered.predictions, found.triggered.predictions)
