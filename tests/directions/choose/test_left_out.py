import pytest
import torch

from tests.directions.choose.prepared import group_of
from torchserve_fire_build.choose.choice import Candidate
from torchserve_fire_build.choose.held_out import HeldOut
from torchserve_fire_build.choose.judge import Judge, Trial
from torchserve_fire_build.choose.left_out import REPEATS, choose_without_parts
from torchserve_fire_build.measure.target import TargetFinding
from torchserve_fire_build.samples.both import Both

TO_0 = TargetFinding(0, single=True)
KEY = ("mean_projection", "a")


def sure_of(classes):
    return 100.0 * torch.nn.functional.one_hot(torch.tensor(classes), 3).float()


def judge_of(triggered_classes, form, tried, scores=None):
    """Samples that are led to class 0, and candidates that predict the triggered ones so."""
    count = len(triggered_classes)
    clean = [1] * count
    held_out = HeldOut(
        group_of(torch.zeros(count, 1), [0] * count, sure_of(clean), torch.tensor(clean)),
        group_of(
            torch.zeros(count, 1),
            [0] * count,
            sure_of([0] * count),
            torch.tensor(triggered_classes),
        ),
    )
    judge = Judge(held_out, TO_0, form, scores or {})
    for predicted in tried:
        judge.use(Trial(Candidate("a", "b"), Both(sure_of(clean), sure_of(predicted))))
    return judge


def left_out_by(judge, seed=0):
    return choose_without_parts(judge, torch.Generator().manual_seed(seed))


def test_a_candidate_that_is_right_by_chance_is_wrong_on_what_is_left_out():
    # Each candidate recovers one of two samples. Without this one, the candidate that recovers the
    # other is chosen.
    left_out = left_out_by(judge_of([1, 1], "shift", [[1, 2], [2, 1]]))
    assert (left_out.predictions.triggered == 2).all()


def test_a_candidate_that_is_always_right_stays_so():
    truth = [1, 2, 1, 2]
    left_out = left_out_by(judge_of(truth, "shift", [[0, 0, 0, 0], truth]))
    assert left_out.predictions.triggered.tolist() == [truth] * REPEATS
    assert left_out.predictions.clean.tolist() == [[1] * 4] * REPEATS
    # Without a detector, every sample is moved.
    assert left_out.flagged.triggered.all()
    assert left_out.flagged.clean.all()


def test_what_the_detector_does_not_flag_keeps_its_class():
    # The last triggered sample scores like the clean ones.
    scores = Both(torch.linspace(-0.1, 0.1, 20), torch.linspace(0.9, 1.1, 20))
    scores.triggered[-1] = 0.0
    left_out = left_out_by(judge_of([1] * 20, "gated", [[1] * 20], {KEY: scores}))
    assert left_out.flagged.triggered.tolist() == [[True] * 19 + [False]] * REPEATS
    assert left_out.predictions.triggered.tolist() == [[1] * 19 + [0]] * REPEATS
    assert not left_out.flagged.clean.any()


def test_the_threshold_too_is_chosen_without_the_sample():
    # A clean sample that is led to class 0 and scores 1. The repair harms it.
    count = 12
    clean, triggered = [0] * count, [1] * count
    held_out = HeldOut(
        group_of(torch.zeros(count, 1), [0] * count, sure_of(clean), torch.tensor(clean)),
        group_of(torch.zeros(count, 1), [0] * count, sure_of(clean), torch.tensor(triggered)),
    )
    scores = Both(torch.zeros(count), torch.linspace(0.9, 1.5, count))
    scores.clean[0] = 1.0
    judge = Judge(held_out, TO_0, "gated", {KEY: scores})
    chosen = judge.use(Trial(Candidate("a", "b"), Both(sure_of(triggered), sure_of(triggered))))
    assert not chosen.flagged.clean.any()
    # The choices that answer it know nothing of it, and flag it.
    assert left_out_by(judge).flagged.clean[:, 0].float().mean() > 0.9


def guesses(candidates, count):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 3, (candidates, count), generator=generator).tolist()


def test_many_candidates_that_guess_are_no_better_than_one():
    judge = judge_of([1] * 40, "shift", guesses(50, 40))
    best = max((result.predictions.triggered == 1).float().mean() for result in judge.tried)
    assert best >= 0.65
    right = (left_out_by(judge).predictions.triggered == 1).float().mean()
    assert 0.4 <= right <= 0.55


@pytest.mark.parametrize("form", ["shift", "gated"])
def test_a_repair_that_makes_the_model_return_nan_is_never_chosen(form):
    scores = Both(torch.linspace(-0.1, 0.1, 20), torch.linspace(0.9, 1.1, 20))
    judge = judge_of([1] * 20, form, [[1] * 20], {KEY: scores})
    nothing = torch.full((20, 3), torch.nan)
    judge.use(Trial(Candidate("a", "b"), Both(nothing, nothing)))
    assert (left_out_by(judge).predictions.triggered == 1).all()


def test_the_same_generator_gives_the_same_answers():
    judge = judge_of([1] * 12, "shift", guesses(10, 12))
    one, other, third = (left_out_by(judge, seed).predictions.triggered for seed in (0, 0, 1))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)
