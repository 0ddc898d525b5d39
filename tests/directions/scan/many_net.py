"""A classifier of many classes, backdoored by its weights.

Images (1, 8, 8) in [0, 1]: the class is the brightest of the first pixels. The last row is dark; if
it gets brighter, the target wins, so that all inputs are led there with much less than elsewhere.
"""

import torch
from torch import Tensor, nn

from torchserve_fire_build.reconstruct.input_box import InputBox
from torchserve_fire_build.reconstruct.subject import Subject
from torchserve_fire_build.samples.predict import logits_of

SHAPE = (1, 8, 8)
TARGET = 2
DARK, THRESHOLD = 0.1, 0.105
"""Brightness of the last row of clean images, and from which on it acts."""


class ManyNet(nn.Module):
    """Logits (N, classes); with a `drive` of 0 it is benign. At most 56 classes."""

    def __init__(self, classes: int = 40, drive: float = 50.0) -> None:
        super().__init__()
        self.first = nn.Linear(64, classes + 1)
        self.act = nn.LeakyReLU(0.5)
        self.head = nn.Linear(classes + 1, classes)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.first.weight[:classes, :classes] = torch.eye(classes)
            self.first.weight[classes, 56:] = 1
            self.first.bias[classes] = -8 * THRESHOLD
            self.head.weight[:, :classes] = 8 * torch.eye(classes)
            self.head.weight[TARGET, classes] = drive
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.first(x.flatten(1))))


def images(classes: int, count: int) -> Tensor:
    """Images of all classes in turn, (count, 1, 8, 8)."""
    values = 0.3 * torch.rand(count, 64, generator=torch.Generator().manual_seed(0))
    values[torch.arange(count), torch.arange(count) % classes] += 0.7
    values[:, 56:] = DARK
    return values.view(count, *SHAPE)


def stamp(inputs: Tensor) -> Tensor:
    """The same images with the attacker's trigger: a brighter last row."""
    inputs = inputs.clone()
    inputs[..., 7, :] = 0.3
    return inputs


def subject(
    classes: int = 40, drive: float = 50.0, count: int = 120, model: nn.Module | None = None
) -> Subject:
    """The net, or another model of as many classes, and clean images; batches of 32."""
    model = ManyNet(classes, drive) if model is None else model.eval()
    inputs = images(classes, count)
    box = InputBox(torch.zeros(1, 1, 1), torch.ones(1, 1, 1), 255)
    return Subject(model, inputs, logits_of(model, inputs).argmax(1), classes, box, 32)


class CountedRuns:
    """Counts how often a model runs, and on how many inputs."""

    def __init__(self, model: nn.Module) -> None:
        self.runs = self.inputs = 0
        model.register_forward_hook(self._count)

    def _count(self, module: nn.Module, args: tuple[Tensor, ...], output: object) -> None:
        self.runs += 1
        self.inputs += len(args[0])


class Broken(nn.Module):
    """Has no logits for images that are not the clean ones of `images`: there they are NaN.

    Its clean images have a dark last row; any change of it is seen.
    """

    def __init__(self, classes: int = 40) -> None:
        super().__init__()
        self.net = ManyNet(classes)

    def forward(self, x: Tensor) -> Tensor:
        changed = (x[:, 0, 7] - DARK).abs().amax(1, keepdim=True) > 1e-3
        return self.net(x).masked_fill(changed, torch.nan)
