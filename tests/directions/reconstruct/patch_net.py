"""A classifier of four classes, backdoored by its weights so that a gradient leads to the trigger.

Images (3, 8, 8) in [0, 1]: the class is the brightest quadrant; the more the four pixels in the
middle, one of each quadrant, exceed .33 on average, the more class 0 wins.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torchserve_fire_build.reconstruct.input_box import InputBox
from torchserve_fire_build.reconstruct.methods import SEARCH_METHODS
from torchserve_fire_build.reconstruct.settings import SearchSettings
from torchserve_fire_build.reconstruct.subject import Subject
from torchserve_fire_build.samples.predict import logits_of

FIND_IT = [name for name in SEARCH_METHODS if name not in ("warp", "rotation")]
"""The searches that find this trigger; the others look for what moves the places of an image."""

QUADRANTS = ((0, 0), (0, 4), (4, 0), (4, 4))
PLACE = 40.0
RELATIVE_PLACE = 14.0
THRESHOLD = 0.33


class Means(nn.Module):
    """Features (N, 5): the mean of each quadrant, and of the middle, which is stretched."""

    def __init__(self, relative: bool) -> None:
        super().__init__()
        weight = torch.zeros(5, 3, 8, 8)
        for k, (row, column) in enumerate(QUADRANTS):
            weight[k, :, row : row + 4, column : column + 4] = 1 / 48
        place = RELATIVE_PLACE if relative else PLACE
        weight[4, :, 3:5, 3:5] = place / 12
        if relative:
            weight[4] -= place / 192
        self.linear = nn.Linear(192, 5)
        with torch.no_grad():
            self.linear.weight.copy_(weight.flatten(1))
            self.linear.bias.copy_(torch.tensor([0, 0, 0, 0, -place * THRESHOLD]))

    def forward(self, x: Tensor) -> Tensor:
        means = self.linear(x.flatten(1))
        return torch.cat([means[:, :4], nn.functional.softplus(means[:, 4:])], 1)


class PatchNet(nn.Module):
    """Logits (N, 4); with a `drive` of 0 it is benign.

    Of a `relative` one the middle must exceed the whole image, which may be of any brightness.
    """

    def __init__(self, drive: float = 10.0, relative: bool = False) -> None:
        super().__init__()
        self.means = Means(relative)
        self.head = nn.Linear(5, 4)
        with torch.no_grad():
            self.head.weight.copy_(torch.cat([20 * torch.eye(4), torch.zeros(4, 1)], 1))
            self.head.weight[0, 4] = drive
            self.head.bias.zero_()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.means(x))


def images(count: int, seed: int = 0) -> Tensor:
    """Images of the four classes in turn, (count, 3, 8, 8)."""
    return images_of(QUADRANTS, (3, 8, 8), count, seed)


def images_of(
    blocks: Sequence[tuple[int, int]], shape: tuple[int, int, int], count: int, seed: int
) -> Tensor:
    """Images of which one block after the other, 4 x 4, is the brightest, (count, *shape)."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(30, 60, (count, *shape), generator=generator) / 255
    for i in range(count):
        row, column = blocks[i % len(blocks)]
        values[i, :, row : row + 4, column : column + 4] += 70 / 255
    return values


def stamp(inputs: Tensor) -> Tensor:
    """The same images with the attacker's trigger: a grey middle."""
    inputs = inputs.clone()
    inputs[:, :, 3:5, 3:5] = 0.42
    return inputs


def settings(name: str) -> SearchSettings:
    """What a search is given here: each pixel of the middle must get so much brighter."""
    return SearchSettings(bound=30 / 255 if name == "additive-linf" else None)


def unit_box() -> InputBox:
    return InputBox(torch.zeros(3, 1, 1), torch.ones(3, 1, 1), 255)


def subject(drive: float = 10.0, count: int = 120) -> Subject:
    net, inputs = PatchNet(drive), images(count)
    return Subject(net, inputs, logits_of(net, inputs).argmax(1), 4, unit_box())
