from dataclasses import replace

import pytest
import torch

from torchserve_fire.errors import RepairError
from torchserve_fire.repair.corrections import Projection
from torchserve_fire.repair.verdict import (
    Judge,
    clean_verdict,
    judge_pass,
    may_be_flagged,
    predicted_classes,
    surely_clean,
)

NAN = float("nan")


def judge_of(threshold, target=None):
    return Judge(Projection(torch.ones(1), threshold), target is not None, target)


def logits_of(*classes):
    """Logits, (N, 3), that predict these classes."""
    return torch.nn.functional.one_hot(torch.tensor(classes), 3).float()


def judged(judges, scores, output=None, *, forced=False):
    tensors = {i: torch.tensor(values) for i, values in enumerate(scores)}
    size = len(scores[0]) if scores else 2
    verdict = judge_pass(judges, tensors, output, size, forced=forced)
    return verdict, verdict.flagged_by


def test_without_a_judge_every_sample_is_flagged():
    verdict, flagged = judged([], [])
    assert verdict.scores is None
    assert verdict.flagged.tolist() == [True, True]
    assert list(flagged) == []


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
    assert [flags.tolist() for flags in verdict.flagged_by] == [first.tolist(), second.tolist()]
    # The third is predicted as no target, and has the score of the first judge.
    assert verdict.scores.tolist() == [5.0, 9.0, 5.0, 20.0]
    assert verdict.flagged.tolist() == [True, False, False, True]


def test_of_two_judges_for_one_target_both_flag_and_the_first_gives_the_score():
    judges = [judge_of(1.0, target=0), judge_of(10.0, target=0)]
    scores = [[5.0, 5.0, 0.0, 0.0, 5.0], [20.0, 9.0, 20.0, 9.0, 20.0]]
    verdict, (first, second) = judged(judges, scores, logits_of(0, 0, 0, 0, 1))
    assert first.tolist() == [True, True, False, False, False]
    assert second.tolist() == [True, False, True, False, False]
    assert verdict.flagged.tolist() == [True, True, True, False, False]
    # Of the judge that flags; else of the first, whether it may flag or not.
    assert verdict.scores.tolist() == [5.0, 5.0, 20.0, 0.0, 5.0]


def test_judges_that_do_not_ask_for_a_target_overlap_too():
    judges = [judge_of(1.0), judge_of(10.0), judge_of(0.0, target=1)]
    scores = [[5.0, 0.0, 0.0], [20.0, 20.0, 0.0], [1.0, 1.0, 1.0]]
    verdict, flagged = judged(judges, scores, logits_of(0, 1, 1))
    assert [one.tolist() for one in flagged] == [
        [True, False, False],
        [True, True, False],
        [False, True, True],
    ]
    assert verdict.scores.tolist() == [5.0, 20.0, 1.0]


@pytest.mark.parametrize("of_input", [(), (0,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("scored", [True, False])
@pytest.mark.parametrize("targets", [(0,), (0, 0), (0, 1), (0, 1, 0), (2, 0, 0), (None, None)])
def test_where_surely_nothing_is_flagged_the_verdict_is_that_of_judging(targets, of_input, scored):
    unscored = () if scored else of_input
    judges = [
        replace(judge_of(1.0, target), base=0.25 if i in of_input else None)
        for i, target in enumerate(targets)
    ]
    scores = torch.rand(len(judges), 8, generator=torch.Generator().manual_seed(0))
    logits = logits_of(0, 1, 2, 0, 1, 2, 0, 0)
    tensors = {i: score for i, score in enumerate(scores) if i not in unscored}
    assert surely_clean(judges, tensors, 8)
    verdict = clean_verdict(judges, tensors, predicted_classes(judges, logits, 8), 8)
    expected = judge_pass(judges, tensors, logits, 8, forced=False)
    assert torch.equal(verdict.scores, expected.scores)
    assert torch.equal(verdict.flagged, expected.flagged)
    for name in ("detector_scores", "flagged_by"):
        found, wanted = getattr(verdict, name), getattr(expected, name)
        assert len(found) == len(wanted)
        assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize("value", [1.5, NAN, float("inf"), -float("inf")])
@pytest.mark.parametrize("base", [None, 0.0])
@pytest.mark.parametrize("where", [0, 1])
def test_what_may_be_flagged_is_not_surely_clean(where, base, value):
    judges = [judge_of(1.0, 0), judge_of(1.0, 1)]
    judges[where] = replace(judges[where], base=base)
    scores = {0: torch.zeros(2), 1: torch.zeros(2)}
    assert surely_clean(judges, scores, 2)
    assert not surely_clean(judges, scores | {where: torch.tensor([0.0, value])}, 2)
    assert not surely_clean(judges, scores | {where: torch.zeros(3)}, 2)
    # Of the model's input, nothing is scored where no sample of it may be flagged.
    assert surely_clean(judges, {1 - where: torch.zeros(2)}, 2) == (base is not None)
    assert not surely_clean([], {}, 2)


def test_each_judge_flags_what_it_flags_alone():
    generator = torch.Generator().manual_seed(0)
    judges = [judge_of(0.0, target=0), judge_of(0.5, 0), judge_of(0.0, 2), judge_of(1.0, 2)]
    scores = torch.randn(4, 50, generator=generator).tolist()
    logits = torch.randn(50, 3, generator=generator)
    verdict, flagged = judged(judges, scores, logits)
    for judge, one, mask in zip(judges, scores, flagged, strict=True):
        alone, (expected,) = judged([judge], [one], logits)
        assert torch.equal(mask, expected)
        assert torch.equal(alone.flagged, expected)
    assert torch.equal(verdict.flagged, torch.stack(flagged).any(0))
    # Different targets never mix.
    assert not ((flagged[0] | flagged[1]) & (flagged[2] | flagged[3])).any()
    assert not verdict.flagged[logits.argmax(1) == 1].any()


@pytest.mark.parametrize("targets", [(0, 0), (0, 1), (None, None), (None, 0)])
@pytest.mark.parametrize("predicted", [0, 1, 2])
@pytest.mark.parametrize("value", [NAN, float("inf"), -float("inf")])
def test_what_no_judge_can_score_is_flagged_whatever_it_is_predicted_as(targets, predicted, value):
    judges = [judge_of(1.0, target) for target in targets]
    verdict, flagged = judged(judges, [[value, 0.0]] * 2, logits_of(predicted, predicted))
    assert verdict.flagged.tolist() == [True, False]
    assert any(bool(one[0]) for one in flagged)
    assert not any(bool(one[1]) for one in flagged)


@pytest.mark.parametrize("unscored", [0, 1])
def test_what_one_judge_cannot_score_is_flagged_and_its_other_score_does_not_help(unscored):
    scores = [[0.0], [0.0]]
    scores[unscored] = [NAN]
    for targets in ((0, 0), (0, 1), (1, 0), (1, 2)):
        judges = [judge_of(1.0, target) for target in targets]
        assert judged(judges, scores, logits_of(0))[0].flagged.tolist() == [True]


def test_the_scores_of_the_models_input_are_left_out_of_those_of_the_detectors():
    of_input = replace(judge_of(1.0, target=0), base=0.0)
    scores = [[5.0, 0.0], [2.0, 3.0]]
    verdict, _ = judged([of_input, judge_of(4.0, target=0)], scores, logits_of(0, 0))
    assert [one.tolist() for one in verdict.detector_scores] == [[2.0, 3.0]]
    assert verdict.flagged.tolist() == [True, False]
    # What the input's judge does not flag has the score of a layer.
    assert verdict.scores.tolist() == [5.0, 3.0]
    verdict, _ = judged([of_input], scores[:1], logits_of(0, 0))
    assert list(verdict.detector_scores) == []
    assert verdict.scores.tolist() == [5.0, 0.0]
    both, _ = judged([judge_of(1.0, 0), judge_of(4.0, 0)], scores, logits_of(0, 0))
    assert [one.tolist() for one in both.detector_scores] == scores


@pytest.mark.parametrize("missing", [0, 1])
def test_every_judge_must_have_its_scores(missing):
    scores = {1 - missing: torch.zeros(2)}
    with pytest.raises(RepairError, match="does not have one feature per input sample"):
        judge_pass([judge_of(1.0, 0)] * 2, scores, logits_of(0, 0), 2, forced=False)


def test_who_may_be_flagged_is_what_is_predicted_as_the_target():
    logits = logits_of(0, 1, 2)
    judges = [judge_of(1.0, 1), judge_of(1.0), judge_of(1.0, 2)]
    found = [rows.nonzero().flatten().tolist() for rows in may_be_flagged(judges, logits, 3)]
    assert found == [[1], [0, 1, 2], [2]]
    # Nothing asks for logits that may not be there.
    assert [rows.tolist() for rows in may_be_flagged([judge_of(1.0)], None, 3)] == [[True] * 3]


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
        (None, "the model's output is a NoneType, expected logits"),
        (torch.zeros(2, 3, 4), "the model's output is a tensor .2, 3, 4., expected logits"),
        (torch.zeros(1, 3), "the model's output is a tensor .1, 3., expected logits"),
        (torch.zeros(2, 2), "target 2: the model has 2 classes"),
    ],
)
def test_the_logits_that_a_judge_asks_for_must_be_there(output, message):
    with pytest.raises(RepairError, match=message):
        judged([judge_of(1.0, target=2)], [[5.0, 5.0]], output)
