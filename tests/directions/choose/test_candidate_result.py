import pytest
import torch

from tests.directions.choose.prepared import group_of
from torchserve_fire_build.choose.candidate_result import CandidateResult, result_of
from torchserve_fire_build.choose.held_out import HeldOut
from torchserve_fire_build.samples.both import Both


def group(logits, reference, expected=None):
    logits = torch.as_tensor(logits, dtype=torch.float32)
    return group_of(
        torch.zeros(len(logits), 6),
        [0] * len(logits),
        logits,
        None if reference is None else torch.tensor(reference),
        None if expected is None else torch.tensor(expected),
    )


SURE_OF_0, SURE_OF_1 = [100.0, 0.0, 0.0], [0.0, 100.0, 0.0]


def judged(held_out, triggered, target):
    return result_of(held_out, Both(held_out.clean.logits, triggered), target)


def test_a_right_answer_is_1_and_a_wrong_one_0():
    held_out = HeldOut(group([SURE_OF_0, SURE_OF_0], [0, 1]), group([SURE_OF_0] * 2, [1, 1]))
    result = judged(held_out, torch.tensor([SURE_OF_1, SURE_OF_0]), target=0)
    assert result.rightness.clean.tolist() == pytest.approx([1, 0])
    assert result.rightness.triggered.tolist() == pytest.approx([1, 0])
    assert result.predictions.clean.tolist() == [0, 0]
    assert result.predictions.triggered.tolist() == [1, 0]


def test_a_surer_answer_is_worth_more():
    held_out = HeldOut(group([SURE_OF_0], [0]), group([SURE_OF_0] * 4, [1, 1, 1, 1]))
    logits = torch.tensor([[0.0, 9, 0], [0.0, 1, 0], [1.1, 1, 0], [9.0, 0, 0]])
    values = judged(held_out, logits, target=0).rightness.triggered.tolist()
    assert values == sorted(values, reverse=True)
    # e / (1 + e + 1)
    assert values[1] == pytest.approx(2.71828 / 4.71828, abs=1e-4)
    assert all(0 <= value <= 1 for value in values)


def test_with_pairs_half_of_the_rightness_is_the_overlap_with_the_partner():
    partners = [[0.25, 0.5, 0.25]] * 3
    triggered = group([SURE_OF_0] * 3, [1, 1, 0], expected=partners)
    held_out = HeldOut(group([SURE_OF_0], [0]), triggered)
    logits = torch.tensor([[0.25, 0.5, 0.25], [0.5, 0.5, 1e-9], [1.0, 1e-9, 1e-9]]).log()
    values = judged(held_out, logits, target=2).rightness.triggered.tolist()
    # Right (.5, .5, 1), and shared with the partner's (1, .75, .25).
    assert values == pytest.approx([0.75, 0.625, 0.625], abs=1e-5)


def test_rightness_if_the_true_class_is_unknown():
    held_out = HeldOut(group([SURE_OF_0], [0]), group([SURE_OF_0] * 3, None))
    logits = torch.tensor([SURE_OF_0, SURE_OF_1, [0.0, 0.1, 0.1]])
    values = judged(held_out, logits, target=0).rightness.triggered.tolist()
    assert values[0] == 0
    assert values[1] == pytest.approx(1)
    assert 0.3 < values[2] < 0.4


def test_an_all_to_all_attack_wants_what_was_predicted_before():
    held_out = HeldOut(group([SURE_OF_0], [0]), group([SURE_OF_0, SURE_OF_1, SURE_OF_1], None))
    logits = torch.tensor([SURE_OF_0, SURE_OF_0, SURE_OF_1])
    result = judged(held_out, logits, target=None)
    assert result.rightness.triggered.tolist() == pytest.approx([0, 1, 0])


def test_only_flagged_samples_have_the_repaired_result():
    repaired = CandidateResult(
        Both(torch.tensor([0.1, 0.2]), torch.tensor([0.3])),
        Both(torch.tensor([1, 2]), torch.tensor([3])),
    )
    before = CandidateResult(
        Both(torch.tensor([0.5, 0.6]), torch.tensor([0.7])),
        Both(torch.tensor([5, 6]), torch.tensor([7])),
    )
    merged = repaired.where(Both(torch.tensor([True, False]), torch.tensor([False])), before)
    assert merged.rightness.clean.tolist() == pytest.approx([0.1, 0.6])
    assert merged.rightness.triggered.tolist() == pytest.approx([0.7])
    assert merged.predictions.clean.tolist() == [1, 6]
    assert merged.predictions.triggered.tolist() == [7]
