"""A classifier with a backdoor that leads each class to the next one, by its weights.

Images are those of `many_net`. If the last row gets brighter, each class is called the next one.
"""

import torch
from torch import Tensor, nn

from tests.directions.scan.many_net import THRESHOLD


class PermutedNet(nn.Module):
    """Logits (N, classes); with a `drive` of 0 it is benign. At most 56 classes."""

    def __init__(self, classes: int, drive: float = 40.0) -> None:
        super().__init__()
        self.first = nn.Linear(64, 2 * classes)
        self.act = nn.LeakyReLU(0.01)
        self.head = nn.Linear(2 * classes, classes)
        next_class = torch.eye(classes).roll(1, 0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.first.weight[:classes, :classes] = torch.eye(classes)
            # Only with a bright last row does the brightest pixel pass.
            self.first.weight[classes:, :classes] = torch.eye(classes)
            self.first.weight[classes:, 56:] = 1
            self.first.bias[classes:] = -1 - 8 * THRESHOLD
            self.head.weight[:, :classes] = 8 * torch.eye(classes)
            self.head.weight[:, classes:] = drive * next_class
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.first(x.flatten(1))))
