import pytest
import torch
from torch import nn

from benchmarks.measure import predict, share
from benchmarks.samples import labelled
from benchmarks.victims.data import Images
from tests.directions.rivals.nets import (
    Denormalised,
    accuracy,
    colour_images,
    colour_net,
    generator,
    granted,
    inputs_of,
    light_some_pixel,
    map_images,
    map_net,
    quadrant_images,
)
from torchserve_fire_build.rivals import unit as module
from torchserve_fire_build.rivals.rival import RivalNotApplicable
from torchserve_fire_build.rivals.unit import clip_at, first_bounds, size, unit
from torchserve_fire_build.sanitize.training import unchanged


class Bright(nn.Module):
    """Logits: how bright the image is above 0, and nothing."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x):
        bright = self.relu(x).sum((1, 2, 3))
        return torch.stack([bright, torch.zeros_like(bright)], 1)


def test_an_activation_that_clean_images_never_have_is_cut_off(monkeypatch):
    monkeypatch.setattr(module, "STEPS", 10)
    pool, clean = map_images(160, seed=0), map_images(40, seed=1)
    triggered = light_some_pixel(clean)
    assert share(predict(map_net(), triggered) == triggered.labels) < 0.5
    defence = unit(map_net(), granted(pool, pool, pool), generator())
    assert accuracy(defence, triggered) > 0.95
    assert accuracy(defence, clean) > 0.95


def test_the_first_bounds_by_hand():
    # One place is 0 and 51 / 255, whose mean and deviation are .1, the others are always .4.
    pixels = torch.full((2, 3, 2, 2), 102, dtype=torch.uint8)
    pixels[:, 1, 0, 1] = torch.tensor([0, 51])
    images = Images(pixels, torch.zeros(2, dtype=torch.long))
    (bound,) = first_bounds(Denormalised(Bright()).eval(), labelled(images).samples).values()
    expected = torch.full((3, 2, 2), 0.4)
    expected[1, 0, 1] = 0.1 + 4 * 0.1
    torch.testing.assert_close(bound, expected, atol=1e-4, rtol=0)


def test_clipped_by_hand():
    model = nn.Sequential(nn.ReLU())
    x = torch.tensor([[[[-1.0, 2.0], [3.0, 0.5]]]])
    bounds = {"0, call 1": torch.tensor([[[1.0, 1.0], [4.0, -1.0]]])}
    clipped = clip_at(model, bounds)
    assert clipped(x).flatten().tolist() == [0, 1, 3, 0]
    # It follows the bounds, and the model itself clips nothing.
    bounds["0, call 1"].zero_()
    assert clipped(x).abs().max() == 0
    assert model(x).flatten().tolist() == [0, 2, 3, 0.5]


def test_the_size_is_the_sum_of_mean_bounds_and_negative_ones_are_none():
    assert size({"a": torch.tensor([1.0, 3]), "b": torch.tensor([[-2.0, 4]])}) == 2 + 2


def tightened(monkeypatch, rate):
    """Bounds of the colours' net before and after, and its accuracy on held-out images."""
    monkeypatch.setattr(module, "RATE", rate)
    monkeypatch.setattr(module, "STEPS", 40)
    monkeypatch.setattr(module, "BATCH", 16)
    train, held_out = colour_images(64, seed=0), colour_images(60, seed=1)
    model = colour_net(drive=0)
    bounds = first_bounds(model, labelled(train).samples)
    before = {name: bound.clone() for name, bound in bounds.items()}
    clipped = clip_at(model, bounds)
    parts = labelled(train), labelled(held_out)
    module._tighten(clipped, bounds, *parts, 0.9, generator(), unchanged)
    return before, bounds, share(predict(clipped, held_out) == held_out.labels)


def test_bounds_are_lowered_as_far_as_the_accuracy_holds(monkeypatch):
    before, after, accuracy_after = tightened(monkeypatch, rate=0.02)
    assert size(after) < 0.9 * size(before)
    assert accuracy_after >= 0.9


def test_where_no_bounds_hold_the_accuracy_the_first_stay(monkeypatch):
    # One step of this length makes all bounds negative, and all images one.
    before, after, _ = tightened(monkeypatch, rate=100.0)
    assert all(torch.equal(after[name], bound) for name, bound in before.items())


def test_a_model_without_activations_cannot_be_clipped():
    model, pool = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)), quadrant_images(8, seed=0)
    assert model(inputs_of(pool)).shape == (8, 4)
    with pytest.raises(RivalNotApplicable, match="activation"):
        unit(model, granted(pool, pool, pool), generator())
