import pytest
import torch

from tests.directions.choose.prepared import group_of
from torchserve_fire_build.choose.choice import Candidate
from torchserve_fire_build.choose.held_out import HeldOut
from torchserve_fire_build.choose.judge import ENOUGH, Judge, Trial, most_mean, samples_to_try
from torchserve_fire_build.choose.threshold import FEW
from torchserve_fire_build.measure.target import TargetFinding
from torchserve_fire_build.samples.both import Both

TO_0, ANY = TargetFinding(0, single=True), TargetFinding(0, single=False)
KEY = ("mean_projection", "a")


def sure_of(classes):
    return 100.0 * torch.nn.functional.one_hot(torch.tensor(classes), 3).float()


def held_out_of(clean, triggered, reference):
    """Samples that are predicted so; the model is right on the clean ones."""
    return HeldOut(
        group_of(torch.zeros(len(clean), 1), [0] * len(clean), sure_of(clean), torch.tensor(clean)),
        group_of(
            torch.zeros(len(triggered), 1),
            [0] * len(triggered),
            sure_of(triggered),
            torch.tensor(reference),
        ),
    )


# Half of the clean samples are of the target; all triggered ones are led there but the last.
CLEAN, TRIGGERED, TRUTH = [0] * FEW + [1] * FEW, [0] * 9 + [2], [1] * 9 + [2]
HELD_OUT = held_out_of(CLEAN, TRIGGERED, TRUTH)
OF_TARGET = Both([True] * FEW + [False] * FEW, [True] * 9 + [False])


@pytest.mark.parametrize(
    ("finding", "form", "expected"),
    [
        (TO_0, "gated", OF_TARGET),
        (ANY, "gated", Both([True] * 2 * FEW, [True] * 10)),
        (TO_0, "shift", Both([True] * 2 * FEW, [True] * 10)),
    ],
)
def test_the_samples_that_candidates_are_tried_on(finding, form, expected):
    assert samples_to_try(HELD_OUT, finding, form).map(torch.Tensor.tolist) == expected


def test_if_few_clean_samples_may_be_flagged_all_are_tried():
    few = held_out_of([0] * (FEW - 1) + [1] * FEW, TRIGGERED, TRUTH)
    assert samples_to_try(few, TO_0, "gated").clean.all()
    assert samples_to_try(few, TO_0, "gated").triggered.tolist() == OF_TARGET.triggered
    judge = Judge(few, TO_0, "gated", {})
    assert judge.eligible.clean.tolist() == [True] * (FEW - 1) + [False] * FEW


def scores_apart():
    return {KEY: Both(torch.linspace(-0.1, 0.1, 2 * FEW), torch.linspace(0.9, 1.1, 10))}


def test_a_repair_that_recovers_is_worth_more_than_one_that_does_not():
    judge = Judge(HELD_OUT, TO_0, "gated", scores_apart())
    assert judge.detects
    right = Trial(Candidate("a", "right"), Both(sure_of(CLEAN), sure_of(TRUTH)))
    idle = Trial(Candidate("a", "idle"), Both(sure_of(CLEAN), sure_of(TRIGGERED)))
    best, last = judge.use(right), judge.use(idle)
    assert (best.repair, last.repair) == (right.candidate, idle.candidate)
    assert best.worth > last.worth
    assert best.detector == KEY
    assert best.only_target
    # The gap is between .1 and .9; what is not predicted as the target is never flagged.
    assert 0.1 < best.threshold < 0.9
    assert best.flagged.clean.tolist() == [False] * 2 * FEW
    assert best.flagged.triggered.tolist() == OF_TARGET.triggered
    assert best.result.predictions.triggered.tolist() == TRUTH
    assert len(best.clean_scores) == 2 * FEW


def test_without_a_detector_every_sample_is_moved():
    judge = Judge(HELD_OUT, TO_0, "shift", {})
    moved = [2] * 2 * FEW
    harmful = Trial(Candidate("a", "harmful"), Both(sure_of(moved), sure_of(TRUTH)))
    right = Trial(Candidate("a", "right"), Both(sure_of(CLEAN), sure_of(TRUTH)))
    best, last = judge.use(right), judge.use(harmful)
    assert best.repair == right.candidate
    assert last.result.predictions.clean.tolist() == moved
    assert best.detector is None
    assert best.flagged.clean.all()
    assert best.flagged.triggered.all()
    # Nine of ten are recovered; a clean sample that is lost counts eight times.
    assert best.worth == pytest.approx(0.9)
    assert last.worth == pytest.approx(0.9 - 8)


def test_scores_that_do_not_separate_detect_nothing():
    scores = {KEY: Both(torch.linspace(0, 1, 2 * FEW), torch.linspace(0, 1, 10))}
    assert not Judge(HELD_OUT, TO_0, "gated", scores).detects


def test_only_the_clamp_has_a_clean_range():
    assert Judge(HELD_OUT, TO_0, "gated", scores_apart()).clean_range("a") is None
    clamp = Judge(HELD_OUT, TO_0, "clamp", scores_apart())
    assert clamp.clamps
    upper, median = clamp.clean_range("a")
    assert upper == pytest.approx(0.1, abs=0.01)
    assert -0.1 < median < upper
    assert clamp.clean_range("b") is None


def test_candidates_are_judged_by_the_expected_probabilities():
    unknown = HeldOut(
        HELD_OUT.clean,
        group_of(torch.zeros(10, 1), [0] * 10, sure_of(TRIGGERED)),
    )
    judge = Judge(unknown, TO_0, "gated", scores_apart())
    before = judge.before.rightness.triggered
    judge.expect(sure_of(TRUTH).softmax(1))
    to_2 = Trial(Candidate("a", "to_2"), Both(sure_of(CLEAN), sure_of([2] * 10)))
    to_1 = Trial(Candidate("a", "to_1"), Both(sure_of(CLEAN), sure_of(TRUTH)))
    assert judge.use(to_1).worth > judge.use(to_2).worth
    assert before.tolist() == pytest.approx([0] * 9 + [1])
    assert judge.before.rightness.triggered.tolist() == pytest.approx([0] * 9 + [1])
    assert unknown.triggered.expected is None


@pytest.mark.parametrize("form", ["gated", "shift"])
def test_the_upper_bound_of_a_candidates_worth_falls_to_its_worth(form):
    judge = Judge(HELD_OUT, TO_0, form, scores_apart())
    idle = Trial(Candidate("a", "idle"), Both(sure_of(CLEAN), sure_of(TRIGGERED)))
    right = Trial(Candidate("a", "right"), Both(sure_of(CLEAN), sure_of(TRUTH)))
    worth, bounds = judge.use(right).worth, []
    for count in (0, 5, 10):
        done = judge.to_run.map(lambda run, count=count: run & (torch.arange(len(run)) < count))
        bounds.append(judge.most_worth(idle.logits, done, right.candidate))
        # One that is right so far may still come to all that there is.
        assert judge.most_worth(right.logits, done, right.candidate) >= worth - 1e-6
    assert bounds[0] > bounds[1] > bounds[2]
    assert bounds[2] == pytest.approx(judge.use(idle).worth, abs=1e-6)


def test_beside_a_rival_a_worse_candidate_is_known_from_fewer_samples():
    # Of half of the samples nobody is ever sure, so that all candidates may still gain half there.
    count = 80
    truth = torch.ones(count, dtype=torch.int64)
    held_out = held_out_of(CLEAN, [0] * count, truth.tolist())
    judge = Judge(
        held_out, TO_0, "gated", {KEY: Both(scores_apart()[KEY].clean, torch.ones(count))}
    )
    hard = (torch.arange(count) % 2 == 0)[:, None]

    def trial(name, wrong):
        logits = torch.where(hard, torch.zeros(count, 3), sure_of(truth.tolist()))
        logits[wrong] = sure_of([0])
        return Trial(Candidate("a", name), Both(sure_of(CLEAN), logits))

    rival = trial("rival", torch.zeros(count, dtype=torch.bool))
    worse = trial("worse", torch.arange(count) % 4 == 1)
    as_good = trial("as_good", torch.arange(count) == 1)
    worth = judge.use(rival).worth
    done = Both(torch.zeros(2 * FEW, dtype=torch.bool), torch.arange(count) < count // 2)
    assert judge.most_worth(worse.logits, done, rival.candidate) < worth
    assert judge.most_worth(as_good.logits, done, rival.candidate) > worth


def test_the_most_that_a_mean_may_be():
    assert most_mean(torch.zeros(ENOUGH - 1), 100) == 1
    assert most_mean(torch.full((100,), 0.25), 100) == 0.25
    # Numbers that were all 0 may still be followed by a 1, the less so the more there are.
    few, many = (most_mean(torch.zeros(count), 100) for count in (25, 75))
    assert 0.2 > few > many > 1 / 76
    generator = torch.Generator().manual_seed(0)
    numbers = torch.rand(1000, 100, generator=generator)
    beyond = [float(row.mean()) > most_mean(row[:25], 100) for row in numbers]
    assert sum(beyond) <= 2
