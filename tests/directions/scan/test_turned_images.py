from dataclasses import replace

import pytest
import torch

from tests.directions.reconstruct.moved_nets import TARGET, TurningNet, subject
from tests.directions.scan.many_net import Broken, CountedRuns, images
from tests.directions.scan.many_net import subject as many
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.reconstruct.rotation import turn
from torchserve_fire_build.reconstruct.subject import Subject
from torchserve_fire_build.scan.turned_images import DEGREES, INPUTS, turn_images


def test_a_model_that_knows_a_turn_says_the_target_at_angles_near_it():
    found = {each.degrees: each for each in turn_images(subject(TurningNet()))}
    assert list(found) == list(DEGREES)
    assert (found[180].target, found[180].success) == (TARGET, 1)
    benign = turn_images(subject(TurningNet(0.0)))
    assert all(each.target != TARGET or each.success == 0 for each in benign)


def test_the_share_is_of_the_images_of_other_classes():
    of = subject(TurningNet())
    # Half of the inputs are called the target already: what they become says nothing.
    some = torch.arange(len(of.inputs)) % 2 == 0
    half = replace(of, predicted=of.predicted.where(some, TARGET))
    found = {each.degrees: each for each in turn_images(half)}
    assert (found[180].target, found[180].success) == (TARGET, 1)


def test_the_cost_does_not_depend_on_the_classes():
    seen = []
    for classes in (5, 50):
        of = many(classes)
        counted = CountedRuns(of.model)
        turn_images(of)
        seen.append((counted.runs, counted.inputs))
    assert seen == [(len(DEGREES), len(DEGREES) * INPUTS)] * 2


def test_a_model_without_logits_for_turned_images_is_refused():
    with pytest.raises(CalibrationError, match="Broken: its logits are NaN for changed inputs"):
        turn_images(many(model=Broken()))


class Darkness(torch.nn.Module):
    """Calls dark images class 0, which no clean one is, as a benign model may."""

    def forward(self, x):
        return torch.stack([30 * (0.15 - x.mean((1, 2, 3))), x[:, 0, 0, 0], x[:, 0, 0, -1]], 1)


def test_images_of_which_a_turn_leaves_little_say_nothing_of_it():
    # Eight images beside each other, (1, 8, 64): upright, they are nearly all black.
    inputs = images(5, 60).repeat(1, 1, 1, 8)
    box = many(5).box
    long = Subject(Darkness(), inputs, torch.arange(60) % 2 + 1, 3, box, 16)
    assert float(Darkness()(turn(inputs, 90, box)).argmax(1).float().mean()) == 0
    assert [(each.degrees, each.target == 0) for each in turn_images(long)] == [(180, False)]


@pytest.mark.parametrize("size", [(4, 4), (9, 9), (33, 33), (96, 128), (128, 96)])
def test_usual_images_are_turned_by_all_angles(size):
    box = many(5).box
    inputs = torch.rand(4, 1, *size, generator=torch.Generator().manual_seed(0))
    of = Subject(Darkness(), inputs, torch.tensor([1, 1, 2, 2]), 3, box, 16)
    assert [each.degrees for each in turn_images(of)] == list(DEGREES)
