import torch

from tests.directions.rivals.nets import accuracy, inputs_of
from tests.directions.rivals.quadrants import CLEAN, TRIGGERED, build
from torchserve_fire_build.rivals.no_repair import no_repair


def test_it_answers_as_the_victim_does():
    defence = build(no_repair)
    assert accuracy(defence, CLEAN) == 1
    assert (defence(inputs_of(TRIGGERED)).predictions == 0).all()


def test_it_judges_nothing_and_takes_one_pass():
    answers = build(no_repair)(inputs_of(CLEAN))
    assert answers.flagged is None
    assert torch.equal(answers.passes, torch.ones(len(CLEAN)))
