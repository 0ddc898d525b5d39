from dataclasses import replace

import pytest
import torch

from tests.directions.reconstruct.moved_nets import TARGET, TurningNet, subject
from tests.directions.scan.many_net import Broken, CountedRuns
from tests.directions.scan.many_net import subject as many
from torchserve_fire_build.common.errors import CalibrationError
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
