import pytest
import torch

from torchserve_fire.errors import RepairError
from torchserve_fire.repair.corrections import Projection
from torchserve_fire.repair.verdict import Judge, judge_pass

NAN = float("nan")


def judge_of(threshold, target=None):
    return Judge(Projection(torch.ones(1), threshold), target is not None, target)


def logits_of(*classes):
    """Logits, (N, 3), that predict these classes."""
    return torch.nn.functional.one_hot(torch.tensor(classes), 3).float()


def judged(judges, scores, output=None, *, forced=False):
    tensors = {i: torch.tensor(values) for i, values in enumerate(scores)}
    size = len(scores[0]) if scores else 2
    return judge_pass(judges, tensors, output, size, forced=forced)


def test_without_a_judge_every_sample_is_flagged():
    verdict, flagged = judged([], [])
    assert verdict.scores is None
    assert verdict.flagged.tolist() == [True, True]
    assert flagged == []


def test_a_score_above_the_threshold_is_flagged_and_one_that_is_not_finite():
    verdict, (flagged,) = judged([judge_of(1.0)], [[0.5, 1.0, 1.5, NAN, -float("inf")]])
    assert flagged.tolist() == verdict.flagged.tolist() == [False, False, True, True, True]
    assert verdict.scores.tolist()[:3] == [0.5, 1.0, 1.5]
    assert verdict.detector_scores[0] is verdict.scores


def test_only_what_is_predicted_as_the_target_is_flagged():
    judges, logits = [judge_of(1.0, target=2)], logits_of(2, 0, 2, 0)
    verdict, _ = judged(judges, [[5.0, 5.0, 0.0, NAN]], logits)
    # What cannot be scored is flagged whatever it is predicted as.
    assert verdict.flagged.tolist() == [True, False, False, True]


def test_of_two_judges_the_one_of_the_predicted_target_decides():
    judges = [judge_of(1.0, target=0), judge_of(10.0, target=2)]
    scores = [[5.0, 5.0, 5.0, 0.0], [20.0, 9.0, 20.0, 20.0]]
    verdict, (first, second) = judged(judges, scores, logits_of(0, 2, 1, 2))
    assert first.tolist() == [True, False, False, False]
    assert second.tolist() == [False, False, False, True]
    # The third is predicted as no target, and has the score of the first judge.
    assert verdict.scores.tolist() == [5.0, 9.0, 5.0, 20.0]
    assert verdict.flagged.tolist() == [True, False, False, True]


def test_to_prove_the_corrections_every_sample_is_flagged_by_every_judge():
    judges = [judge_of(1.0, target=0), judge_of(1.0, target=1)]
    verdict, flagged = judged(judges, [[0.0, 0.0]] * 2, logits_of(2, 2), forced=True)
    assert [one.tolist() for one in flagged] == [[True, True]] * 2
    assert verdict.flagged.tolist() == [True, True]


@pytest.mark.parametrize("scores", [{}, {0: torch.zeros(3)}, {1: torch.zeros(2)}])
def test_there_must_be_one_score_per_sample(scores):
    with pytest.raises(RepairError, match="does not have one feature per input sample"):
        judge_pass([judge_of(1.0)], scores, None, 2, forced=False)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (None, "the model's output is not a .N, classes. tensor of logits"),
        (torch.zeros(2, 3, 4), "the model's output is not a .N, classes. tensor of logits"),
        (torch.zeros(1, 3), "the model's output is not a .N, classes. tensor of logits"),
        (torch.zeros(2, 2), "target 2: the model has 2 classes"),
    ],
)
def test_the_logits_that_a_judge_asks_for_must_be_there(output, message):
    with pytest.raises(RepairError, match=message):
        judged([judge_of(1.0, target=2)], [[5.0, 5.0]], output)
