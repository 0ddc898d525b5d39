import torch

from tests.directions.rivals.nets import accuracy
from tests.directions.rivals.quadrants import CLEAN, build
from torchserve_fire_build.rivals.jpeg import compress, jpeg


def test_what_is_even_survives_and_what_is_fine_does_not():
    grey = torch.full((1, 3, 16, 16), 128 / 255)
    chequered = (torch.arange(16)[:, None] + torch.arange(16)) % 2
    fine = 0.5 + 0.02 * (chequered - 0.5).expand(1, 3, 16, 16)
    both = compress(torch.cat([grey, fine]))
    assert torch.equal(both[0], grey[0])
    assert both[1].std() < 0.5 * fine.std()


def test_colours_and_places_stay_where_they_are():
    images = torch.zeros(1, 3, 16, 16)
    images[0, 0, :8], images[0, 2, 8:] = 1, 1
    assert (compress(images) - images).abs().mean() < 0.05


def test_images_are_still_recognised():
    assert accuracy(build(jpeg), CLEAN) == 1
