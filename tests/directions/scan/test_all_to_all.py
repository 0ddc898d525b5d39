import math
from dataclasses import replace

import pytest
import torch

from tests.directions.scan.many_net import Broken, CountedRuns, subject
from tests.directions.scan.permuted_net import PermutedNet
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.scan.all_to_all import (
    CHANGES,
    LONGER,
    MIN_MEASURED,
    MOST_LOSS,
    halves,
    losses_between,
    measurable,
    one_to_one,
    search_all_to_all,
)

CLASSES = 8
KIND = pytest.mark.parametrize("kind", CHANGES)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def backdoored(drive=40.0):
    return subject(CLASSES, count=160, model=PermutedNet(CLASSES, drive))


def test_each_class_is_led_to_the_next_one_as_the_backdoor_has_it():
    found = search_all_to_all(backdoored(), "patch", seeded(), 40)
    assert found.kind == "patch"
    assert found.targets == {c: (c + 1) % CLASSES for c in range(CLASSES)}
    assert found.followed > 0.9


@KIND
def test_in_a_benign_twin_few_follow(kind):
    assert search_all_to_all(backdoored(drive=0), kind, seeded(), 20).followed < 0.3


@KIND
def test_a_backdoor_with_one_target_is_none_of_this_kind(kind):
    assert search_all_to_all(subject(CLASSES, count=160), kind, seeded(), 20).followed < 0.3


def test_half_of_each_class_is_kept_to_measure_on():
    predicted = torch.tensor([3, 0, 0, 3, 0, 2, 0, 3])
    searched, measured = halves(predicted)
    # Of class 2 there is one input only.
    assert predicted[searched].tolist() == [0, 0, 3]
    assert predicted[measured].tolist() == [0, 0, 3, 3]
    assert not set(searched.tolist()) & set(measured.tolist())


def test_what_is_measured_has_no_part_in_the_search():
    of = backdoored()
    _, measured = halves(of.predicted)
    predicted = of.predicted.clone()
    # Each class keeps its first inputs, so the search is the same; those after them do not follow.
    predicted[measured] = (predicted[measured] + 3) % CLASSES
    other = replace(of, predicted=predicted)
    first, second = (search_all_to_all(s, "patch", seeded(), 10) for s in (of, other))
    assert first.targets == second.targets
    assert first.followed > 0.9
    assert second.followed == 0


@pytest.mark.parametrize(("each", "enough"), [(2, False), (16, True)])
def test_it_is_measurable_with_enough_inputs_of_the_same_classes(each, enough):
    assert measurable(torch.arange(5).repeat(each)) is enough
    assert not measurable(torch.arange(10 * MIN_MEASURED))


def test_losses_are_of_each_class_towards_each_other():
    logits = torch.tensor([[2.0, 0, 0], [4, 0, 0], [0, 1, 0]])
    found = losses_between(logits, torch.tensor([0, 0, 1]))
    of_zero = (math.log(math.exp(2) + 2) + math.log(math.exp(4) + 2)) / 2
    of_one = math.log(math.e + 2)
    none = MOST_LOSS
    expected = [[none, of_zero, of_zero], [of_one, none, of_one], [none, none, none]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_the_least_loss_is_paired_first_and_no_class_taken_twice():
    none = MOST_LOSS
    losses = torch.tensor([[none, 1.0, 2.0], [3.0, none, 0.5], [none, none, none]])
    assert one_to_one(losses) == {1: 2, 0: 1}
    assert one_to_one(losses.T.contiguous()) == {2: 1, 1: 0}


@KIND
def test_the_cost_is_that_of_the_steps_whatever_the_number_of_classes(kind):
    seen = []
    for classes in (5, 30):
        of = subject(classes, count=120)
        counted = CountedRuns(of.model)
        search_all_to_all(of, kind, seeded(), 4)
        seen.append(counted.inputs)
    steps = 4 + round(4 * LONGER)
    assert seen == [steps * 32 + 120] * 2


@KIND
def test_only_the_seed_decides(kind):
    torch.manual_seed(0)
    first = search_all_to_all(backdoored(), kind, seeded(2), 4)
    torch.manual_seed(1)
    assert search_all_to_all(backdoored(), kind, seeded(2), 4) == first


def test_logits_that_are_nan_lead_nowhere():
    with pytest.raises(CalibrationError, match="Broken: its logits are NaN for changed inputs"):
        search_all_to_all(subject(model=Broken()), "patch", seeded(), 3)
