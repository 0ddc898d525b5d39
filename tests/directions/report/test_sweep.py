from dataclasses import replace

import pytest
import torch

from tests.directions.calibrated import calibrated
from torchserve_fire_build.choose.choice import FORMS, Candidate, build_repairing_layer
from torchserve_fire_build.choose.trials import run_trials
from torchserve_fire_build.estimate.registry import REPAIRS
from torchserve_fire_build.report.sweep import STRENGTHS, sweep
from torchserve_fire_build.samples.folds import FOLDS

KINDS = ("vector", "token", "map")


def of_layer(sweeps, name):
    (found,) = [swept for swept in sweeps if swept.layer == name]
    return found


def with_repair(record, **changes):
    choice = record.choice
    return replace(record, choice=replace(choice, repair=replace(choice.repair, **changes)))


def everything(held_out):
    return held_out.map(lambda group: torch.ones(len(group.folds), dtype=torch.bool))


def unrepaired(held_out, target):
    """Clean accuracy, attack success rate and recovered accuracy, without the project's figures."""
    clean, triggered = held_out.clean, held_out.triggered
    others = triggered.reference != target
    predicted, truth = triggered.predictions[others], triggered.reference[others]
    return (
        float((clean.predictions == clean.reference).double().mean()),
        float((predicted == target).double().mean()),
        float((predicted == truth).double().mean()),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_strength_0_is_no_repair(tmp_path, kind, form):
    record, _ = calibrated(tmp_path, kind, form=form)
    expected = unrepaired(record.held_out, record.target)
    firsts = [swept.points[0] for swept in sweep(record) if swept.points]
    assert firsts
    for first in firsts:
        assert first.strength == 0
        for figures in (first.every_input, first.flagged_inputs):
            if figures is not None:
                assert figures.clean_accuracy[1] == expected[0]
                assert figures.attack_success_rate[1] == expected[1]
                assert figures.recovered_accuracy[1] == expected[2]


@pytest.mark.parametrize("estimator", [*REPAIRS, "clamp"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_a_correction_of_strength_0_changes_no_logit(tmp_path, kind, estimator):
    # So that the sweep need not run it.
    record, _ = calibrated(tmp_path, kind)
    held_out = record.held_out
    clean_range = (0.5, 0.0) if estimator == "clamp" else None
    name = "mean_difference" if estimator == "clamp" else estimator
    whole = {layer: record.statistics.whole(layer) for layer in record.layers}
    layers = [
        build_repairing_layer(Candidate(layer, name, 0.0), statistics, clean_range)
        for layer, statistics in whole.items()
    ]
    # Some are for vectors alone, and one is for unpaired samples of few classes.
    assert kind == "vector" or estimator == "from_others" or any(layers)
    for layer in filter(None, layers):
        every = everything(held_out)
        (logits,) = run_trials(record.model, held_out, [[layer] * FOLDS], every)
        for after, group in zip(logits, held_out, strict=True):
            # Batches of other sizes may round otherwise.
            torch.testing.assert_close(after, group.logits)
            assert torch.equal(after.argmax(1), group.predictions)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_the_chosen_point_has_the_bundles_figures(tmp_path, kind, form):
    record, bundle = calibrated(tmp_path, kind, form=form, augment="none")
    repair = record.choice.repair
    points = of_layer(sweep(record), repair.layer).points
    (point,) = [point for point in points if point.strength == repair.strength]
    assert (point.flagged_inputs is None) == (form != "gated")
    figures = point.every_input if form != "gated" else point.flagged_inputs
    assert figures.to_json() == {k: v for k, v in bundle.held_out.items() if k != "folds"}


def test_every_layer_and_strength_in_order(tmp_path):
    record, _ = calibrated(tmp_path, "vector")
    sweeps = sweep(with_repair(record, estimator="mean_difference", strength=0.6))
    assert [swept.layer for swept in sweeps] == list(record.layers) == ["mix", "relu"]
    for swept in sweeps:
        assert [point.strength for point in swept.points] == sorted([*STRENGTHS, 0.6])


def test_only_flagged_inputs_are_repaired(tmp_path):
    record, _ = calibrated(tmp_path, "map")
    every = everything(record.held_out)
    for flagged in (every, every.map(torch.logical_not)):
        choice = replace(record.choice, flagged=flagged)
        for swept in sweep(replace(record, choice=choice)):
            for point in swept.points:
                expected = point if flagged is every else swept.points[0]
                assert (
                    point.flagged_inputs.clean_accuracy,
                    point.flagged_inputs.attack_success_rate,
                    point.flagged_inputs.recovered_accuracy,
                ) == (
                    expected.every_input.clean_accuracy,
                    expected.every_input.attack_success_rate,
                    expected.every_input.recovered_accuracy,
                )


def test_by_hand(tmp_path):
    # The trigger adds 2 to the fifth coordinate behind the ReLU, which nothing else reaches; with
    # a drive of 50 any of it wins, and subtracting too much of it does no harm to other classes.
    record, _ = calibrated(tmp_path, "vector")
    relu = of_layer(sweep(with_repair(record, estimator="mean_difference")), "relu")
    recovered = {p.strength: p.every_input.recovered_accuracy[1] for p in relu.points}
    assert [recovered[s] for s in (0, 0.5, 0.75)] == [0, 0, 0]
    assert recovered[2.0] == 1
    clean = {p.strength: p.every_input.clean_accuracy[1] for p in relu.points}
    # What pulls triggered samples from class 0 pulls clean ones from it, too: a quarter of them.
    assert clean[0.0] == 1
    assert clean[2.0] == 0.75
    assert relu.auc["mean_projection"] == 1
    assert relu.auc["whitened"] == 1


@pytest.mark.parametrize("form", FORMS)
def test_if_nothing_differs_there_is_nothing_to_show(tmp_path, form):
    record, _ = calibrated(tmp_path, "map", form=form, layers=["relu", "still"])
    still = of_layer(sweep(record), "still")
    assert set(still.auc.values()) == {None}
    assert list(still.points) == []


def test_a_local_replacement_has_no_strength_above_1(tmp_path):
    record, _ = calibrated(tmp_path, "map")
    record = with_repair(record, estimator="local_3", strength=1.0)
    sweeps = sweep(record)
    assert [p.strength for p in of_layer(sweeps, "stem").points] == [0, 0.5, 0.75, 1]
    # Vectors have no places.
    assert list(of_layer(sweeps, "flat").points) == []


def test_detectors_are_compared_on_samples_that_may_be_flagged(tmp_path):
    record, _ = calibrated(tmp_path, "vector", layers=["relu"])
    held_out = record.held_out
    assert record.choice.only_target
    # A clean sample of another class has the trigger's mark, so that no score separates the two. It
    # must not count if only samples predicted as the target are judged.
    key = ("mean_projection", "relu")
    clean = record.scores[key].clean.clone()
    other = int((held_out.clean.predictions != record.target).nonzero()[0])
    clean[other] = 10 * record.scores[key].triggered.max()
    scores = {**record.scores, key: replace(record.scores[key], clean=clean)}
    record = replace(record, scores=scores)
    assert of_layer(sweep(record), "relu").auc["mean_projection"] == 1
    choice = replace(record.choice, only_target=False)
    of_all = of_layer(sweep(replace(record, choice=choice)), "relu").auc["mean_projection"]
    assert of_all == pytest.approx(1 - 1 / len(clean))
