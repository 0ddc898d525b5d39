import pytest
import torch

from benchmarks import fire
from benchmarks.measure import answer_all
from benchmarks.perturb import be_called, detection_of, pass_unflagged, perturb, survive_repair
from benchmarks.victims.poison import to_float
from tests.benchmarks.hand_made import Victim, bundle, images
from torchserve_fire.format.bundle import Bundle

MODEL = Victim()
CLEAN, TRIGGERED = images(), images(corner=255)
WANTED = torch.zeros(8, dtype=torch.int64)


def found(aims, start, radius, seed=0):
    return perturb(aims, start, WANTED, radius, torch.Generator().manual_seed(seed))


def farthest(first, second):
    return int((first.pixels.int() - second.pixels.int()).abs().max())


def answers(perturbed):
    return answer_all(fire.defend(MODEL, bundle()), perturbed)


def test_no_pixel_value_leaves_the_radius_or_the_range():
    for start in (CLEAN, TRIGGERED):
        perturbed = found(be_called(MODEL), start, 5)
        assert perturbed.pixels.dtype == torch.uint8
        assert farthest(perturbed, start) <= 5
        assert torch.equal(perturbed.labels, start.labels)


def test_the_whole_radius_is_used():
    assert farthest(found(be_called(MODEL), CLEAN, 5), CLEAN) == 5


def test_what_needs_no_perturbation_gets_none():
    assert torch.equal(found(be_called(MODEL), TRIGGERED, 5).pixels, TRIGGERED.pixels)


def test_a_seed_finds_the_same_and_another_seed_does_not():
    aims = be_called(MODEL)
    first, same, other = (found(aims, CLEAN, 5, seed).pixels for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_an_adversarial_example_needs_no_trigger():
    # 80 lie between the quadrants.
    assert not bool((answers(found(be_called(MODEL), CLEAN, 30)).predictions == 0).any())
    assert bool((answers(found(be_called(MODEL), CLEAN, 60)).predictions == 0).all())


@pytest.mark.parametrize("only_target", [False, True])
def test_a_trigger_is_made_to_pass_unflagged_where_the_radius_reaches_the_threshold(only_target):
    aims = pass_unflagged(MODEL, bundle(only_target=only_target))
    passed = answers(found(aims, TRIGGERED, 70))
    assert not bool(passed.flagged.any())
    assert bool((passed.predictions == 0).all())
    caught = answers(found(aims, TRIGGERED, 20))
    assert bool(caught.flagged.all())
    assert not bool((caught.predictions == 0).any())


@pytest.mark.parametrize("only_target", [False, True])
def test_a_trigger_is_made_to_survive_its_repair(only_target):
    aims = survive_repair(MODEL, bundle(only_target=only_target))
    survived = answers(found(aims, TRIGGERED, 60))
    assert bool((survived.predictions == 0).all())
    caught = answers(found(aims, TRIGGERED, 20))
    assert bool(caught.flagged.all())
    assert not bool((caught.predictions == 0).any())


def test_to_survive_the_repair_is_asked_of_what_is_not_flagged_too():
    called = to_float(found(be_called(MODEL), CLEAN, 60).pixels)
    assert float(be_called(MODEL)(called, WANTED)[0].max()) <= 0
    assert float(survive_repair(MODEL, bundle())(called, WANTED)[0].min()) > 0


def test_the_model_is_left_as_it_was():
    for aims in (pass_unflagged(MODEL, bundle()), survive_repair(MODEL, bundle())):
        found(aims, TRIGGERED, 5)
    assert not any(module._forward_hooks for module in MODEL.modules())
    assert all(parameter.grad is None for parameter in MODEL.parameters())


@pytest.mark.parametrize("times", [0, 2])
def test_a_bundle_of_other_than_one_detecting_layer_is_refused(times):
    one = bundle()
    several = Bundle(**{**vars(one), "layers": one.layers * times})
    with pytest.raises(ValueError, match=f"^{times} layers"):
        detection_of(several)
