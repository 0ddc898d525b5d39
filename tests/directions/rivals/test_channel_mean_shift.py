import torch

from tests.directions.rivals.nets import (
    accuracy,
    generator,
    granted,
    inputs_of,
    light_some_pixel,
    map_images,
    map_net,
)
from tests.directions.rivals.quadrants import TRIGGERED, build
from torchserve_fire_build.rivals.channel_mean_shift import channel_mean_shift
from torchserve_fire_build.rivals.fire_mean_shift import fire_every_input


def test_a_trigger_that_moves_is_taken_off():
    given_clean, clean = map_images(40, seed=0), map_images(40, seed=1)
    given = granted(given_clean, light_some_pixel(given_clean), map_images(8, seed=2))
    defence = channel_mean_shift(map_net(), given, generator())
    assert accuracy(defence, light_some_pixel(clean)) == 1
    # All lose the drive of one lit pixel, and without one class 0 goes under.
    predictions = defence(inputs_of(clean)).predictions
    assert torch.equal(predictions == clean.labels, clean.labels != 0)


def test_for_a_net_without_places_it_is_the_mean_shift():
    images = inputs_of(TRIGGERED)
    per_channel, full = build(channel_mean_shift), build(fire_every_input)
    assert torch.equal(per_channel(images).predictions, full(images).predictions)
