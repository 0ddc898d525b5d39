"""A classifier of eight classes with two backdoors: of each its own place, which drives a class.

Images (3, 8, 16) in [0, 1]: the class is the brightest of eight blocks, in two rows of four. The
more a trigger's four pixels, one of each of four blocks, exceed .33 on average, the more its class
wins: class 0 by those in the left half, class 5 by those in the right one.
"""

import torch
from torch import Tensor, nn

from tests.directions.reconstruct.patch_net import images_of

BLOCKS = tuple((row, column) for row in (0, 4) for column in (0, 4, 8, 12))
PLACES = {0: 3, 5: 11}
"""Of each backdoored class: the first column of its trigger."""

STRETCH = 40.0
THRESHOLD = 0.33


class Means(nn.Module):
    """Features (N, 10): the mean of each block, and of each trigger's place, stretched."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.zeros(10, 3, 8, 16)
        for k, (row, column) in enumerate(BLOCKS):
            weight[k, :, row : row + 4, column : column + 4] = 1 / 48
        for k, column in enumerate(PLACES.values()):
            weight[8 + k, :, 3:5, column : column + 2] = STRETCH / 12
        self.linear = nn.Linear(384, 10)
        with torch.no_grad():
            self.linear.weight.copy_(weight.flatten(1))
            self.linear.bias.zero_()
            self.linear.bias[8:] = -STRETCH * THRESHOLD

    def forward(self, x: Tensor) -> Tensor:
        means = self.linear(x.flatten(1))
        return torch.cat([means[:, :8], nn.functional.softplus(means[:, 8:])], 1)


class TwoPatchNet(nn.Module):
    """Logits (N, 8)."""

    def __init__(self, drives: tuple[float, float] = (14.0, 10.0)) -> None:
        super().__init__()
        self.means = Means()
        self.head = nn.Linear(10, 8)
        with torch.no_grad():
            self.head.weight.copy_(torch.cat([20 * torch.eye(8), torch.zeros(8, 2)], 1))
            for k, (target, drive) in enumerate(zip(PLACES, drives, strict=True)):
                self.head.weight[target, 8 + k] = drive
            self.head.bias.zero_()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.means(x))


def images(count: int, seed: int = 0) -> Tensor:
    """Images of the eight classes in turn, (count, 3, 8, 16)."""
    return images_of(BLOCKS, (3, 8, 16), count, seed)


def stamp(inputs: Tensor, target: int) -> Tensor:
    """The same images with the trigger of a class: a grey place."""
    inputs = inputs.clone()
    column = PLACES[target]
    inputs[:, :, 3:5, column : column + 2] = 0.42
    return inputs
