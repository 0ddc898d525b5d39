import pytest
import torch

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.measure.other_pixels import other_pixels

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def normalised(pixels, mean, std):
    return (pixels - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)


def prepared(inputs, description):
    return {cause: prepare(inputs) for cause, _, prepare in other_pixels(inputs, description)}


@pytest.fixture
def pixels():
    return torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))


def test_images_are_prepared_in_the_other_usual_ways(pixels):
    described = InputDescription("image", (3, 2, 2), *IMAGENET)
    found = prepared(normalised(pixels, *IMAGENET), described)
    assert set(found) == {
        "images are not normalised",
        "images are normalised as for CIFAR-10",
        "images are scaled to -1 to 1",
        "images are not divided by 255",
        "blue comes first in them (BGR)",
    }
    assert torch.allclose(found["images are not normalised"], pixels, atol=1e-5)
    assert torch.allclose(found["images are scaled to -1 to 1"], 2 * pixels - 1, atol=1e-5)
    assert torch.allclose(found["images are not divided by 255"], 255 * pixels, atol=1e-3)
    flipped = found["blue comes first in them (BGR)"]
    assert torch.equal(flipped[:, 0], normalised(pixels, *IMAGENET)[:, 2])


@pytest.mark.parametrize("scale", [1, 255])
def test_tensors_of_pixels_are_known_by_their_range(pixels, scale):
    described = InputDescription("tensor", (3, 2, 2))
    found = prepared(scale * pixels, described)
    right = normalised(pixels, *IMAGENET)
    assert torch.allclose(found["images are normalised as for ImageNet"], right, atol=1e-4)
    same = "images are not normalised" if scale == 1 else "images are not divided by 255"
    assert same not in found


def test_of_tensors_with_values_below_0_only_the_channels_are_known(pixels):
    found = prepared(pixels - 0.5, InputDescription("tensor", (3, 2, 2)))
    assert list(found) == ["blue comes first in them (BGR)"]


def test_grey_images_have_no_order_of_channels(pixels):
    found = prepared(pixels[:, :1], InputDescription("image", (1, 2, 2), (0.0,), (1.0,)))
    assert set(found) == {
        "images are normalised as for MNIST",
        "images are scaled to -1 to 1",
        "images are not divided by 255",
    }


@pytest.mark.parametrize(
    "inputs", [torch.rand(4, 6), torch.rand(4, 3, 6), torch.ones(4, 3, 2, 2).long()]
)
def test_what_is_no_image_has_no_other_settings(inputs):
    assert prepared(inputs, InputDescription("tensor", tuple(inputs.shape[1:]))) == {}
