import pytest
import torch

from tests.directions.rivals.nets import generator
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.rivals.pixels import on_images, to_images, to_inputs
from torchserve_fire_build.rivals.rival import RivalNotApplicable

IMAGES = InputDescription("image", (3, 4, 4), (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261))


def test_each_of_256_levels_comes_back_to_the_bit():
    images = (torch.arange(256).float() / 255).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    assert torch.equal(to_images(to_inputs(images, IMAGES), IMAGES), images)


def test_what_lies_between_levels_stays_there():
    images = torch.full((1, 3, 4, 4), 100.4 / 255)
    assert torch.allclose(to_images(to_inputs(images, IMAGES), IMAGES), images, atol=1e-6)


def test_a_change_of_images_is_one_of_inputs():
    images = torch.rand(2, 3, 4, 4, generator=generator())
    inverted = on_images(IMAGES, lambda given: 1 - given)(to_inputs(images, IMAGES))
    assert torch.allclose(to_images(inverted, IMAGES), 1 - images, atol=1e-5)


@pytest.mark.parametrize("kind", ["tensor", "integers"])
def test_what_is_no_image_is_not_changed(kind):
    with pytest.raises(RivalNotApplicable, match=f"takes .*{kind.rstrip('s')}"):
        on_images(InputDescription(kind, (5,)), torch.zeros_like)
