"""A classifier of four classes whose trigger is a wave.

Images are those of `patch_net`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.directions.reconstruct.patch_net import QUADRANTS, images
from torchserve_fire_build.reconstruct.input_box import InputBox
from torchserve_fire_build.reconstruct.plane_wave import PlaneWave
from torchserve_fire_build.reconstruct.subject import Subject
from torchserve_fire_build.samples.predict import logits_of

TRIGGER = (0, 2)
"""Its cycles down and across."""

BOUND = 40 / 255
"""The root mean square of the waves that are tried."""


class WaveNet(nn.Module):
    """The class is the brightest quadrant; class 0 wins by as much as a wave exceeds an amplitude.

    Of a quadrant's brightness, two cycles across show nothing.
    """

    waves: Tensor

    def __init__(
        self,
        drive: float = 10.0,
        width: float = 1.0,
        triggers: Sequence[tuple[int, int]] = (TRIGGER,),
    ) -> None:
        super().__init__()
        self.drive, self.width = drive, width
        waves = [
            [PlaneWave(*trigger, phase).values(8, 8).flatten() for phase in (0.0, math.pi / 2)]
            for trigger in triggers
        ]
        self.register_buffer("waves", torch.stack([torch.stack(of) for of in waves]) / 32)

    def forward(self, x: Tensor) -> Tensor:
        grey = x.mean(1) / self.width
        means = [grey[:, r : r + 4, c : c + 4].mean((1, 2)) for r, c in QUADRANTS]
        amplitude = (self.waves @ grey.flatten(1).T).norm(dim=1).amax(0)
        logits = 20 * torch.stack(means, 1)
        triggered = self.drive * nn.functional.relu(50 * (amplitude - 0.1))
        return logits + triggered[:, None] * torch.tensor([1.0, 0, 0, 0])


def seeded() -> torch.Generator:
    """Return the random numbers of a scan."""
    return torch.Generator().manual_seed(0)


def subject(drive: float = 10.0, width: float = 1.0, inputs: Tensor | None = None) -> Subject:
    """Images that go from 0 to `width`, by default 120 of all classes in turn."""
    inputs = width * (images(120) if inputs is None else inputs)
    net = WaveNet(drive, width).eval()
    box = InputBox(torch.zeros(3, 1, 1), width * torch.ones(3, 1, 1), 255)
    return Subject(net, inputs, logits_of(net, inputs).argmax(1), 4, box)
