import torch

from tests.directions.rivals.nets import generator
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.rivals.pixels import to_inputs
from torchserve_fire_build.rivals.random_crops import crop_and_flip, cropping

IMAGES = InputDescription("image", (1, 8, 8), (0.5,), (0.25,))


def test_a_crop_shifts_by_an_eighth_at_most_and_fills_with_black():
    image = torch.zeros(50, 1, 8, 8)
    image[:, :, 3, 3] = 1
    cropped = cropping(IMAGES)(to_inputs(image, IMAGES), generator())
    places = {tuple(place) for place in (cropped > 0).nonzero()[:, 2:].tolist()}
    assert places == {(row, column) for row in (2, 3, 4) for column in (2, 3, 4)}
    black = float(to_inputs(torch.zeros(1, 1, 1, 1), IMAGES))
    assert cropped.min() == black


def test_half_are_flipped_if_asked_for():
    image = torch.zeros(200, 1, 8, 8)
    image[..., 0] = 1
    flipped = crop_and_flip(image, generator(), pad=0, flips=True)[..., -1].amax((1, 2))
    assert 70 < int(flipped.sum()) < 130
    assert torch.equal(crop_and_flip(image, generator(), pad=0, flips=False), image)


def test_what_is_no_image_stays_as_it_is():
    inputs = torch.ones(2, 5)
    assert torch.equal(cropping(InputDescription("tensor", (5,)))(inputs, generator()), inputs)
