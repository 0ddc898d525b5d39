"""Classifiers of four classes, backdoored by their weights: a bright place drives class 0.

Their inputs are vectors (6,), tokens (3, 6) or maps (1, 6, 6). The class is the largest of the
first four coordinates (of the tokens' mean, of the map's quadrants); the trigger is a fifth
coordinate (of the first token), or one pixel anywhere, of 3 or more. Vectors and tokens may have a
second trigger, a sixth coordinate, which drives class 1.
"""

import torch
from torch import Tensor, nn


class VectorNet(nn.Module):
    """Vectors (N, 6): a layer that hands everything on, less 1, and a head that reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(6, 6)
        self.relu = nn.ReLU()
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.mix(x)))


class TokenNet(VectorNet):
    """Tokens (N, 3, 6): the same for each token, then their mean."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.mix(x)).mean(1))


class MapNet(nn.Module):
    """Maps (N, 1, 6, 6): one channel hands the pixels on, the other those beyond 2.

    A layer beside them has the same features for every input.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 1)
        self.relu = nn.ReLU()
        self.flat = nn.Flatten()
        self.still = nn.Identity()
        self.head = nn.Linear(72, 4)

    def forward(self, x: Tensor) -> Tensor:
        offset = self.still(x.new_zeros(len(x), 72))
        return self.head(self.flat(self.relu(self.stem(x))) + offset)


@torch.no_grad()
def backdoored(kind: str, *, drive: float = 50.0, second_trigger: bool = False) -> nn.Module:
    """Return the net of a kind ("vector", "token", "map"); with a `drive` of 0 it is benign."""
    net = {"vector": VectorNet, "token": TokenNet, "map": MapNet}[kind]().eval()
    net.head.weight.zero_()
    net.head.bias.zero_()
    if isinstance(net, MapNet):
        net.stem.weight.fill_(1)
        net.stem.bias.copy_(torch.tensor([0.0, -2.0]))
        weight = net.head.weight.view(4, 2, 6, 6)
        for k, (row, column) in enumerate(((0, 0), (0, 3), (3, 0), (3, 3))):
            weight[k, 0, row : row + 3, column : column + 3] = 10 / 9
        weight[0, 1] = drive
    else:
        net.mix.weight.copy_(torch.eye(6))
        net.mix.bias.copy_(torch.tensor([0.0, 0, 0, 0, -1, 0]))
        net.head.weight[:, :4] = 10 * torch.eye(4)
        net.head.weight[0, 4] = drive
        if second_trigger:
            net.mix.bias[5] = -1
            net.head.weight[1, 5] = drive
    return net
