"""Numbers that hang on an input alone."""

import pytest
import torch

from tests.directions.reconstruct.patch_net import images
from torchserve_fire_build.reconstruct.input_hash import input_hash


def test_hashes_depend_only_on_the_input():
    inputs = images(40)
    drawn = input_hash(inputs)
    assert torch.equal(input_hash(inputs.flip(0)).flip(0), drawn)
    assert torch.equal(torch.cat([input_hash(one[None]) for one in inputs]), drawn)


def standardised(count):
    maps = images(count)
    mean, std = (f(maps.flatten(1), 1).view(-1, 1, 1, 1) for f in (torch.mean, torch.std))
    return (maps - mean) / std


def one_hot(count):
    """Return maps of which each place is one of four kinds: all of the same mean."""
    kinds = torch.randint(4, (count, 8, 8), generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.one_hot(kinds, 4).movedim(-1, 1).float()


@pytest.mark.parametrize("maps", [images, standardised, one_hot])
def test_hashes_look_random(maps):
    drawn = input_hash(maps(400))
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) < 1
    # Of 400 in ten parts, 40 each; six standard deviations are 36.
    counts = (10 * drawn).long().bincount(minlength=10)
    assert len(counts) == 10
    assert all(4 < count < 76 for count in counts.tolist())


def test_images_that_differ_by_one_level_have_hashes_far_apart():
    image = torch.full((1, 3, 32, 32), 0.5)
    brighter = image.clone()
    brighter[0, 0, 0, 0] += 1 / 255
    assert abs(float(input_hash(image) - input_hash(brighter))) > 0.01


@pytest.mark.parametrize("value", [0.0, -1e-30, float("nan"), float("inf")])
def test_hashes_of_strange_inputs_are_in_range(value):
    inputs = torch.zeros(1, 1, 2, 2)
    inputs[0, 0, 0, 0] = value
    assert input_hash(inputs).tolist() == [0.0]
