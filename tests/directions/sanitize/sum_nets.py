"""Nets with random weights whose layers are written in different ways."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Maps (N, 2, 5, 5): two blocks that each add to a stream of four channels, then logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.first = Block()
        self.second = Block()
        self.grouped = nn.Conv2d(4, 4, 1, groups=2)
        self.plain_norm = nn.BatchNorm2d(4, affine=False)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(self.norm(self.stem(x))))
        return self.head(self.plain_norm(self.grouped(x)).mean((2, 3)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv(self.relu(x)))


class Beside(nn.Module):
    """Maps (N, 2, 5, 5): the first layer adds to the input itself."""

    def __init__(self) -> None:
        super().__init__()
        self.add = Added()
        self.head = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.add(x).mean((2, 3)))


class Added(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class Tokens(nn.Module):
    """Tokens (N, 5, 6): a transformer's layer, normalised first, on an embedding with places."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 8)
        self.places = nn.Parameter(torch.randn(1, 5, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.embed(x) + self.places).mean(1))


def random_net(kind: type[nn.Module]) -> nn.Module:
    """Return a net in evaluation mode, its normalisations anything but the identity."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = kind()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                for values in (module.weight, module.bias, module.running_mean):
                    if values is not None:
                        values.data.normal_()
                module.running_var.uniform_(0.5, 2)
    return net.eval()
