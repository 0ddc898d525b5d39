"""Classifiers that are backdoored so that images whose places are moved are the target.

Images (1, 8, 8) in [0, 1]: the class is the brightest of the first three pixels of the middle row.
Benign twins have a `drive` of 0.
"""

import torch
from torch import Tensor, nn

from torchserve_fire_build.reconstruct.input_box import InputBox
from torchserve_fire_build.reconstruct.subject import Subject

CLASSES, TARGET = 4, 3
BRIGHT = 0.9


class LeaningNet(nn.Module):
    """The target wins once the last row gets brighter, as by a warp that moves things down."""

    def __init__(self, drive: float = 400.0) -> None:
        super().__init__()
        self.drive = drive

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (N, 4)."""
        return _with_target(x, self.drive * (x[:, 0, 7].mean(1) - 0.03))


class TurningNet(nn.Module):
    """The target wins if the second row is bright, as in images that are upside down."""

    def __init__(self, drive: float = 40.0) -> None:
        super().__init__()
        self.drive = drive

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (N, 4)."""
        return _with_target(x, self.drive * (x[:, 0, 1].mean(1) - 0.3))


def _with_target(x: Tensor, target: Tensor) -> Tensor:
    return torch.cat([20 * x[:, 0, 3, :3], target[:, None]], 1)


def subject(model: nn.Module, count: int = 60) -> Subject:
    """Dark images, but for the class's pixel and the last but one row."""
    inputs = torch.zeros(count, 1, 8, 8)
    labels = torch.arange(count) % (CLASSES - 1)
    inputs[torch.arange(count), 0, 3, labels] = BRIGHT
    inputs[:, 0, 6] = BRIGHT
    box = InputBox(torch.zeros(1, 1, 1), torch.ones(1, 1, 1), 255)
    return Subject(model.eval(), inputs, labels, CLASSES, box, 16)
