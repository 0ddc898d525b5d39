import pytest
import torch

from tests.directions.backdoored import TENSOR, loaded, tensor_sets
from torchserve_fire_build.choose.candidate_result import result_of, score_detectors
from torchserve_fire_build.choose.held_out import Group, HeldOut, hold_out
from torchserve_fire_build.common.progress import Progress
from torchserve_fire_build.estimate.detectors import DETECTORS
from torchserve_fire_build.estimate.layer_statistics import collect_statistics
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.folds import assign_folds
from torchserve_fire_build.samples.open_samples import open_samples


def group(logits, reference, folds=None, inputs=None, expected=None):
    logits = torch.as_tensor(logits, dtype=torch.float32)
    return Group(
        torch.zeros(len(logits), 6) if inputs is None else inputs,
        torch.zeros(len(logits), dtype=torch.int64) if folds is None else torch.tensor(folds),
        logits,
        None if reference is None else torch.tensor(reference),
        None if expected is None else torch.tensor(expected),
    )


SURE_OF_0, SURE_OF_1 = [100.0, 0.0, 0.0], [0.0, 100.0, 0.0]


def test_right_is_1_and_wrong_is_0():
    held_out = HeldOut(group([SURE_OF_0, SURE_OF_0], [0, 1]), group([SURE_OF_0] * 2, [1, 1]))
    result = result_of(
        held_out, held_out.clean.logits, torch.tensor([SURE_OF_1, SURE_OF_0]), target=0
    )
    assert result.clean.tolist() == pytest.approx([1, 0])
    assert result.triggered.tolist() == pytest.approx([1, 0])
    assert result.clean_predictions.tolist() == [0, 0]
    assert result.triggered_predictions.tolist() == [1, 0]


def test_a_surer_answer_is_worth_more():
    held_out = HeldOut(group([SURE_OF_0], [0]), group([SURE_OF_0] * 4, [1, 1, 1, 1]))
    logits = torch.tensor([[0.0, 9, 0], [0.0, 1, 0], [1.1, 1, 0], [9.0, 0, 0]])
    values = result_of(held_out, held_out.clean.logits, logits, target=0).triggered.tolist()
    assert values == sorted(values, reverse=True)
    # e / (1 + e + 1)
    assert values[1] == pytest.approx(2.71828 / 4.71828, abs=1e-4)
    assert all(0 <= value <= 1 for value in values)


def test_of_pairs_half_is_what_the_partner_was_answered():
    partners = [[0.25, 0.5, 0.25]] * 3
    triggered = group([SURE_OF_0] * 3, [1, 1, 0], expected=partners)
    held_out = HeldOut(group([SURE_OF_0], [0]), triggered)
    logits = torch.tensor([[0.25, 0.5, 0.25], [0.5, 0.5, 1e-9], [1.0, 1e-9, 1e-9]]).log()
    values = result_of(held_out, held_out.clean.logits, logits, target=2).triggered.tolist()
    # Right (.5, .5, 1), and shared with the partner's (1, .75, .25).
    assert values == pytest.approx([0.75, 0.625, 0.625], abs=1e-5)


def test_nobody_knows_the_true_class():
    held_out = HeldOut(group([SURE_OF_0], [0]), group([SURE_OF_0] * 3, None))
    logits = torch.tensor([SURE_OF_0, SURE_OF_1, [0.0, 0.1, 0.1]])
    values = result_of(held_out, held_out.clean.logits, logits, target=0).triggered.tolist()
    assert values[0] == 0
    assert values[1] == pytest.approx(1)
    assert 0.3 < values[2] < 0.4


@pytest.mark.parametrize("paired", [True, False])
def test_scores_are_those_of_tellers_that_never_saw_the_sample(tmp_path, paired):
    sets = tensor_sets(tmp_path, "vector", paired=paired)
    evidence = gather_evidence(*(open_samples(p, TENSOR) for p in (sets.clean, sets.triggered)))
    generator = torch.Generator().manual_seed(0)
    folds = assign_folds(evidence, generator)
    model = loaded("vector").model
    with torch.no_grad():
        logits = [model(s.load(range(40))) for s in (evidence.clean, evidence.triggered)]
    with Progress("", 1) as progress:
        statistics = collect_statistics(
            model,
            ["mix", "relu"],
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
    scores = score_detectors(model, statistics, ["mix", "relu"], held_out)
    assert set(scores) <= {(detector, layer) for detector in DETECTORS for layer in ("mix", "relu")}
    assert ("whitened", "relu") in scores
    for (name, layer), (clean, triggered) in scores.items():
        for group_of, values in ((held_out.clean, clean), (held_out.triggered, triggered)):
            features = group_of.inputs - torch.tensor([0.0, 0, 0, 0, 1, 0])
            features = features.relu() if layer == "relu" else features
            for i in (0, 7, 39):
                detector = DETECTORS[name](statistics.without(int(group_of.folds[i]), layer))
                expected = float((features[i] * detector.weight).sum()) - detector.offset
                assert float(values[i]) == pytest.approx(expected, abs=1e-4)
        assert float(triggered.mean()) == pytest.approx(1, abs=0.2)


def test_a_teller_that_a_fold_cannot_estimate_is_left_out(tmp_path):
    # Four clean samples of the target's class are too few for the detector that is made of them.
    sets = tensor_sets(tmp_path, "vector", count=16)
    evidence = gather_evidence(*(open_samples(p, TENSOR) for p in (sets.clean, sets.triggered)))
    generator = torch.Generator().manual_seed(0)
    folds = assign_folds(evidence, generator)
    model = loaded("vector").model
    with torch.no_grad():
        logits = [model(s.load(range(16))) for s in (evidence.clean, evidence.triggered)]
    with Progress("", 1) as progress:
        statistics = collect_statistics(
            model,
            ["relu"],
            evidence,
            folds,
            clean_target=logits[0].argmax(1) == 0,
            use=torch.ones(16, dtype=torch.bool),
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
    assert ("whitened_from_target", "relu") not in score_detectors(
        model, statistics, ["relu"], held_out
    )


def test_of_an_all_to_all_attack_what_was_predicted_before_is_wanted():
    held_out = HeldOut(group([SURE_OF_0], [0]), group([SURE_OF_0, SURE_OF_1, SURE_OF_1], None))
    logits = torch.tensor([SURE_OF_0, SURE_OF_0, SURE_OF_1])
    result = result_of(held_out, held_out.clean.logits, logits, target=None)
    assert result.triggered.tolist() == pytest.approx([0, 1, 0])
