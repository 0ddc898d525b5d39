"""Torchvision's transforms are the oracle: the same pixels, to the bit."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from tests.handler.archive import encode
from torchserve_fire.errors import InputError
from torchserve_fire.format.resizing import INTERPOLATIONS, NOT_SMOOTHED, Resizing
from torchserve_fire.model.config import parse_config
from torchserve_fire.model.preprocess import image_to_tensor
from torchserve_fire.model.to_size import to_size

TO_TENSOR = transforms.ToTensor()
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIZES = [(301, 500), (500, 301), (257, 257), (256, 256), (224, 224), (100, 90), (31, 300), (1, 3)]
"""Of images, as (width, height): portrait and landscape, odd, square, smaller than the crop."""


def noise(size, mode="RGB", seed=0):
    channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size[1], size[0], channels), np.uint8)
    return Image.fromarray(pixels if channels > 1 else pixels[:, :, 0])


def ours(image, mean=MEAN, std=STD, **settings):
    config = parse_config({"handler": {"input": "image", "mean": mean, "std": std, **settings}})
    return image_to_tensor(encode(image), config.describe_input())


def theirs(image, *steps, to_tensor=TO_TENSOR, mean=MEAN, std=STD):
    normalize = transforms.Normalize(mean, std)
    return transforms.Compose([*steps, to_tensor, normalize])(image)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("size", SIZES)
def test_the_usual_imagenet_way(size, mode):
    image = noise(size, mode)
    expected = theirs(image.convert("RGB"), transforms.Resize(256), transforms.CenterCrop(224))
    assert torch.equal(ours(image, resize=256, crop=224), expected)


@pytest.mark.parametrize("size", SIZES)
def test_a_greyscale_model(size):
    image = noise(size)
    expected = theirs(
        image.convert("L"),
        transforms.Resize(70),
        transforms.CenterCrop(64),
        mean=[0.5],
        std=[0.25],
    )
    assert torch.equal(ours(image, [0.5], [0.25], resize=70, crop=64), expected)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", SIZES[:3])
def test_every_interpolation(size, interpolation):
    image, mode = noise(size), InterpolationMode(interpolation)
    cropped = theirs(
        image, transforms.Resize(39, interpolation=mode), transforms.CenterCrop((32, 37))
    )
    assert torch.equal(ours(image, resize=39, crop=[32, 37], interpolation=interpolation), cropped)
    squashed = theirs(image, transforms.Resize((32, 37), interpolation=mode))
    for setting in ("resize", "image_size"):
        found = ours(image, **{setting: [32, 37]}, interpolation=interpolation)
        assert torch.equal(found, squashed)


def test_every_interpolation_of_torchvision_has_a_name():
    assert set(INTERPOLATIONS) == {mode.value for mode in InterpolationMode}


@pytest.mark.parametrize("interpolation", NOT_SMOOTHED)
@pytest.mark.parametrize("size", SIZES)
def test_without_antialiasing_as_of_tensors_of_bytes(size, interpolation):
    image = noise(size)
    steps = (
        transforms.PILToTensor(),
        transforms.Resize(39, InterpolationMode(interpolation), antialias=False),
        transforms.CenterCrop((32, 37)),
    )
    expected = theirs(image, *steps, to_tensor=transforms.ConvertImageDtype(torch.float32))
    settings = {"resize": 39, "crop": [32, 37], "interpolation": interpolation}
    assert torch.equal(ours(image, **settings, antialias=False), expected)


def test_without_antialiasing_of_a_greyscale_model():
    image = noise((61, 80), "L")
    steps = (transforms.PILToTensor(), transforms.Resize((20, 30), antialias=False))
    expected = theirs(
        image,
        *steps,
        to_tensor=transforms.ConvertImageDtype(torch.float32),
        mean=[0.5],
        std=[0.25],
    )
    assert torch.equal(ours(image, [0.5], [0.25], resize=[20, 30], antialias=False), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("crop", [224, [31, 302], [300, 30]])
def test_a_crop_alone(size, crop):
    image = noise(size)
    assert torch.equal(ours(image, crop=crop), theirs(image, transforms.CenterCrop(crop)))


def test_both_sides_and_a_crop():
    image = noise((301, 500))
    steps = transforms.Resize((60, 70)), transforms.CenterCrop((51, 64))
    assert torch.equal(ours(image, resize=[60, 70], crop=[51, 64]), theirs(image, *steps))


def test_what_is_cut_out_by_hand():
    image = Image.fromarray(np.arange(5, dtype=np.uint8)[None].repeat(2, 0))
    assert np.asarray(to_size(image, (2, 3), Resizing(None, True))).tolist() == [[1, 2, 3]] * 2
    # Of five, four: torchvision rounds a half to the even number.
    assert np.asarray(to_size(image, (2, 4), Resizing(None, True))).tolist() == [[0, 1, 2, 3]] * 2
    framed = np.asarray(to_size(image, (5, 5), Resizing(None, True)))
    assert framed.tolist() == [[0] * 5, [*range(5)], [*range(5)], [0] * 5, [0] * 5]


def test_a_thin_image_would_become_huge():
    file = io.BytesIO()
    Image.new("L", (1, 60_000)).save(file, "PNG")
    settings = {"input": "image", "mean": MEAN, "std": STD, "resize": 256, "crop": 224}
    described = parse_config({"handler": settings}).describe_input()
    with pytest.raises(InputError, match="which would have 256 x 15360000 once it is resized"):
        image_to_tensor(file.getvalue(), described)
