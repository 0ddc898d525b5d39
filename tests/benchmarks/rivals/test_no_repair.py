import torch

from benchmarks.rivals.no_repair import no_repair
from benchmarks.victims.poison import to_float
from tests.benchmarks.rivals.nets import accuracy
from tests.benchmarks.rivals.quadrants import CLEAN, TRIGGERED, build


def test_it_answers_as_the_victim_does():
    defence = build(no_repair)
    assert accuracy(defence, CLEAN) == 1
    assert (defence(to_float(TRIGGERED.pixels)).predictions == 0).all()


def test_it_judges_nothing_and_takes_one_pass():
    answers = build(no_repair)(to_float(CLEAN.pixels))
    assert answers.flagged is None
    assert torch.equal(answers.passes, torch.ones(len(CLEAN)))
