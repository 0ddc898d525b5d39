import torch

from benchmarks.rivals.channel_mean_shift import channel_mean_shift
from benchmarks.rivals.fire_mean_shift import fire_every_input
from benchmarks.victims.poison import to_float
from tests.benchmarks.rivals.nets import (
    accuracy,
    generator,
    granted,
    light_some_pixel,
    map_images,
    map_net,
)
from tests.benchmarks.rivals.quadrants import TRIGGERED, build


def test_a_trigger_that_moves_is_taken_off():
    given_clean, clean = map_images(40, seed=0), map_images(40, seed=1)
    given = granted(given_clean, light_some_pixel(given_clean), map_images(8, seed=2))
    defence = channel_mean_shift(map_net(), given, generator())
    assert accuracy(defence, light_some_pixel(clean)) == 1
    # All lose the drive of one lit pixel, and without one class 0 goes under.
    predictions = defence(to_float(clean.pixels)).predictions
    assert torch.equal(predictions == clean.labels, clean.labels != 0)


def test_for_a_net_without_places_it_is_the_mean_shift():
    images = to_float(TRIGGERED.pixels)
    per_channel, full = build(channel_mean_shift), build(fire_every_input)
    assert torch.equal(per_channel(images).predictions, full(images).predictions)
