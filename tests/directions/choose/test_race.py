import torch

from tests.directions.choose.prepared import group_of
from torchserve_fire_build.choose.choice import Candidate
from torchserve_fire_build.choose.held_out import HeldOut
from torchserve_fire_build.choose.judge import Judge, Trial
from torchserve_fire_build.choose.race import FirstRace, Race
from torchserve_fire_build.choose.ranking import Ranking
from torchserve_fire_build.measure.target import TargetFinding
from torchserve_fire_build.samples.both import Both

COUNT = 100
"""Triggered samples: of class 1, predicted as class 0."""

DONE = Both(torch.zeros(10, dtype=torch.bool), torch.arange(COUNT) % 4 == 0)
"""A quarter of the triggered samples was run."""


def sure_of(classes):
    return 100.0 * torch.nn.functional.one_hot(classes, 3).float()


def logits(recovered):
    """Of a repair that recovers such a share of every stretch of twenty triggered samples."""
    right = torch.arange(COUNT) // 4 % 5 < round(5 * recovered)
    return Both(sure_of(torch.arange(10) % 3), sure_of(right.long()))


def raced(*worths):
    """A judge, and a ranking of choices at layers of their own that recover such shares."""
    zeros = torch.zeros(COUNT, dtype=torch.int64)
    clean = torch.arange(10) % 3
    held_out = HeldOut(
        group_of(torch.zeros(10, 1), [0] * 10, sure_of(clean), clean),
        group_of(torch.zeros(COUNT, 1), [0] * COUNT, sure_of(zeros), zeros + 1),
    )
    scores = {("mean_projection", "a"): Both(torch.linspace(-0.1, 0.1, 10), torch.ones(COUNT))}
    judge, ranking = Judge(held_out, TargetFinding(0, True), "gated", scores), Ranking()
    candidates = [Candidate(f"layer {i}", "mean_difference") for i in range(len(worths))]
    ranking.announce(candidates)
    ranking.add(
        judge.use(Trial(one, logits(worth))) for one, worth in zip(candidates, worths, strict=True)
    )
    return judge, ranking


def test_what_lies_clearly_below_the_last_place_is_stopped():
    race = Race(*raced(1.0, 0.8, 0.2), places=2)
    assert list(race.go_on({3: logits(0.8), 4: logits(0.2), 7: logits(1.0)}, DONE)) == [3, 7]


def test_while_there_are_free_places_all_go_on():
    assert list(Race(*raced(1.0), places=2).go_on({0: logits(0.0)}, DONE)) == [0]


def test_of_a_layer_that_may_be_among_the_best_its_best_candidate_goes_on():
    race = FirstRace(*raced(1.0, 1.0, 0.4), places=2, layers=3)
    assert list(race.go_on({0: logits(0.0), 1: logits(0.6), 2: logits(0.2)}, DONE)) == [1]
    assert list(race.go_on({0: logits(0.0)}, DONE)) == []
    assert list(race.go_on({0: logits(0.0), 1: logits(1.0), 2: logits(1.0)}, DONE)) == [1, 2]
