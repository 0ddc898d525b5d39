"""The net of `patch_net` as a victim of the benchmark: a bright middle drives class 0."""

import torch

from benchmarks.measure import Held
from benchmarks.victims.data import Images
from benchmarks.victims.recipe import Recipe
from benchmarks.victims.train import Victim, normalise
from tests.directions.reconstruct.patch_net import PatchNet, images, stamp


class OfNormalised(torch.nn.Module):
    """The net of `patch_net`, for images as the victims take them."""

    def __init__(self, drive):
        super().__init__()
        self.net = PatchNet(drive)
        self.low = normalise(torch.zeros(1, 3, 1, 1))
        self.width = normalise(torch.ones(1, 3, 1, 1)) - self.low

    def forward(self, x):
        return self.net((x - self.low) / self.width)


def as_pixels(inputs):
    labels = torch.arange(len(inputs)) % 4
    return Images((inputs * 255).round().byte(), labels)


def victim(drive):
    """A victim whose trigger drives class 0, or a benign one where that is 0."""
    recipe = Recipe("net", None)
    return Victim(recipe, OfNormalised(drive).eval(), None, "0" * 64, 1)


def held():
    """80 images, and the 60 of other classes than the target with the trigger."""
    test = images(80, seed=3)
    others = torch.arange(80)[torch.arange(80) % 4 != 0]
    triggered = as_pixels(stamp(test)).at(others)
    return Held(as_pixels(test), triggered, torch.zeros(len(others), dtype=torch.int64), others)
