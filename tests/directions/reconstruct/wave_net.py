"""A classifier of four classes whose trigger is a wave.

Images are those of `patch_net`.
"""

import math

import torch
from torch import Tensor, nn

from directions.predict import logits_of
from directions.reconstruct.sinusoidal import Wave
from directions.reconstruct.subject import Subject
from tests.directions.reconstruct.patch_net import QUADRANTS, images, unit_box

TRIGGER = Wave(down=0, across=2, phase=0.0)


class WaveNet(nn.Module):
    """The class is the brightest quadrant; class 0 wins by as much as a wave exceeds an amplitude.

    Of a quadrant's brightness, the wave's two cycles show nothing.
    """

    waves: Tensor

    def __init__(self, drive: float = 10.0) -> None:
        super().__init__()
        self.drive = drive
        waves = [Wave(0, 2, phase).values(8, 8) for phase in (0.0, math.pi / 2)]
        self.register_buffer("waves", torch.stack(waves).flatten(1) / 32)

    def forward(self, x: Tensor) -> Tensor:
        grey = x.mean(1)
        means = [grey[:, r : r + 4, c : c + 4].mean((1, 2)) for r, c in QUADRANTS]
        amplitude = (grey.flatten(1) @ self.waves.T).norm(dim=1)
        logits = 20 * torch.stack(means, 1)
        triggered = self.drive * nn.functional.relu(50 * (amplitude - 0.1))
        return logits + triggered[:, None] * torch.tensor([1.0, 0, 0, 0])


def subject(drive: float = 10.0) -> Subject:
    net, inputs = WaveNet(drive).eval(), images(120)
    return Subject(net, inputs, logits_of(net, inputs).argmax(1), 4, unit_box())
