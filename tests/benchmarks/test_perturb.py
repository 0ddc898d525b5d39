from dataclasses import replace

import pytest
import torch

from benchmarks import fire
from benchmarks.measure import answer_all
from benchmarks.perturb import be_called, detections_of, pass_unflagged, perturb, survive_repair
from benchmarks.victims.poison import to_float
from benchmarks.victims.train import normalise
from tests.benchmarks.hand_made import Victim, bundle, images
from torchserve_fire.format.bundle import INPUT_LAYER, Bundle, Detection, Layer
from torchserve_fire.format.correction_forms import Overlay

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


def overlay_of_the_corner(threshold: float) -> Layer:
    """Flags a pixel of more than `threshold` above the others, wherever; it is undone there."""
    shape = (3, 8, 8)
    white, black = normalise(torch.ones(1, *shape))[0], normalise(torch.zeros(1, *shape))[0]
    corner = torch.zeros(shape)
    corner[:, 0, 0] = 1
    weight = (corner - corner.mean((1, 2), keepdim=True)) / (3 * (white - black))
    gauges = torch.zeros(3, *shape)
    for channel in range(3):
        gauges[channel, channel] = 3 * weight[channel]
    overlay = Overlay(
        corner * white, 1.0, -corner, gauges, (0.0,) * 3, 0.0, black[:, :1, :1], white[:, :1, :1]
    )
    detection = Detection(weight, threshold, True, anywhere=True)
    return Layer(INPUT_LAYER, shape, detection, overlay, repair=1)


def two_repairs() -> Bundle:
    """The bundle, with an overlay that asks for more of a corner than its layer does."""
    one = bundle(only_target=True)
    return replace(one, layers=(*one.layers, overlay_of_the_corner(0.2)))


def test_every_repair_must_be_passed_unflagged():
    both = two_repairs()
    assert [layer.name for layer, _ in detections_of(both)] == ["net.features", INPUT_LAYER]
    aims = pass_unflagged(MODEL, both)
    scores = aims(to_float(TRIGGERED.pixels), WANTED)
    assert [tuple(score.shape) for score in scores] == [(8,)] * 3
    # By the layer, by the input, and of the class: it is called the wanted one already.
    assert [bool((score > 0).all()) for score in scores] == [True, True, False]
    # A corner of 185 passes the layer, and is 65 or more above all the others.
    below = to_float(images(corner=185).pixels)
    assert [bool((score > 0).all()) for score in aims(below, WANTED)[:2]] == [False, True]


def test_a_trigger_is_made_to_pass_every_repair_or_is_caught():
    both = two_repairs()
    defended = fire.defend(MODEL, both)
    assert bool(answer_all(defended, TRIGGERED).flagged.all())
    perturbed = found(pass_unflagged(MODEL, both), TRIGGERED, 20)
    assert bool(answer_all(defended, perturbed).flagged.all())


def test_what_survives_one_repair_is_asked_to_survive_the_next():
    aims = survive_repair(MODEL, two_repairs())
    (short,) = aims(to_float(TRIGGERED.pixels), WANTED)
    assert float(short.min()) > 0


def test_a_bundle_in_which_nothing_detects_is_refused():
    none = Bundle(**{**vars(bundle()), "layers": ()})
    with pytest.raises(ValueError, match=r"^no layer of the bundle detects"):
        detections_of(none)
