import math

import pytest
import torch

from benchmarks.victims.train import MEAN, STD, normalise
from tests.directions.rivals.quadrants import GIVEN
from torchserve_fire_build.rivals.blur import blur
from torchserve_fire_build.rivals.rival import answer_with


class Watch(torch.nn.Module):
    """Keeps what it is given, and answers class 0."""

    def forward(self, x):
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        self.seen = x * std + mean
        return torch.zeros(len(x), 2)


def test_a_white_pixel_spreads_to_its_neighbours():
    watch = Watch()
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4, 4] = 1
    blur(watch, GIVEN, None)(normalise(image))
    beside = math.exp(-1 / (2 * 0.8**2))
    middle = 1 / (1 + 2 * beside)
    assert float(watch.seen[0, 0, 4, 4]) == pytest.approx(middle**2, abs=1e-5)
    assert float(watch.seen[0, 0, 4, 5]) == pytest.approx(middle**2 * beside, abs=1e-5)
    assert float(watch.seen[0, 0, 4, 6]) == pytest.approx(0, abs=1e-5)


def test_without_a_transformation_the_image_arrives_as_it_is():
    watch = Watch()
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    answer_with(watch)(normalise(image))
    assert torch.allclose(watch.seen, image, atol=1e-6)
