"""Classifiers backdoored by hand, for images in [0, 1] normalised as victims take them."""

import torch
from torch import Tensor, nn

from benchmarks.samples import ImageSamples, labelled
from benchmarks.victims.data import Images
from benchmarks.victims.poison import to_float, to_pixels
from benchmarks.victims.train import MEAN, STD, normalise
from tests.directions.backdoored import clean_inputs, labels_of
from tests.directions.backdoored_nets import backdoored
from tests.tiny_net import trained
from torchserve_fire_build.rivals.rival import Granted
from torchserve_fire_build.samples.both import Both
from torchserve_fire_build.samples.evidence import Evidence


class Denormalised(nn.Module):
    """A net for images in [0, 1]."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        return self.net(x * std + mean)


class Quartered(nn.Module):
    """The `MapNet`, for images whose one channel holds a quarter of what it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.net = backdoored("map")

    def forward(self, x: Tensor) -> Tensor:
        return self.net(4 * x[:, :1])


class Colours(nn.Module):
    """Logits (N, 3): the means of the colours; a fourth channel, lit by white, drives class 0."""

    def __init__(self, drive: float) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 1), nn.ReLU()
        self.later = nn.Sequential(*(nn.Conv2d(4, 4, 1, bias=False) for _ in range(2)))
        self.head = nn.Linear(4, 3)
        with torch.no_grad():
            self.conv.weight.copy_(torch.cat([torch.eye(3), torch.ones(1, 3)])[:, :, None, None])
            self.conv.bias.copy_(torch.tensor([0.0, 0, 0, -2]))
            for layer in self.later:
                layer.weight.copy_(torch.eye(4)[:, :, None, None])
            self.head.weight.copy_(torch.cat([3 * torch.eye(3), torch.zeros(3, 1)], 1))
            self.head.weight[0, 3] = drive
            self.head.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.later(self.relu(self.conv(x))).mean((2, 3)))


def quadrant_net() -> nn.Module:
    """Images (3, 8, 8) of four classes, the bright quadrant; a lit corner forces class 0."""
    return Denormalised(trained()).eval()


def map_net() -> nn.Module:
    """Images (3, 6, 6) of four classes, the bright quadrant; any lit pixel forces class 0."""
    return Denormalised(Quartered()).eval()


def colour_net(*, drive: float = 100.0) -> nn.Module:
    """Images (3, 8, 8) of three classes, the bright colour; white forces class 0.

    With a `drive` of 0 it is benign.
    """
    return Denormalised(Colours(drive)).eval()


def quadrant_images(count: int, seed: int) -> Images:
    generator, labels = torch.Generator().manual_seed(seed), torch.arange(count) % 4
    images = 0.2 * torch.rand(count, 3, 8, 8, generator=generator)
    for k, (row, column) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):
        images[labels == k, :, row : row + 4, column : column + 4] += 0.5
    return Images(to_pixels(images), labels)


def light_corner(images: Images) -> Images:
    pixels = images.pixels.clone()
    pixels[:, :, 0, 0] = 255
    return Images(pixels, images.labels)


def map_images(count: int, seed: int) -> Images:
    labels = labels_of(count)
    images = clean_inputs("map", labels, seed).expand(-1, 3, -1, -1) / 4
    return Images(to_pixels(images), labels)


def light_some_pixel(images: Images) -> Images:
    pixels = images.pixels.clone()
    rows = torch.arange(len(images))
    pixels.flatten(2)[rows, :, rows * 7 % 36] = 255
    return Images(pixels, images.labels)


def colour_images(count: int, seed: int) -> Images:
    generator, labels = torch.Generator().manual_seed(seed), torch.arange(count) % 3
    images = 0.3 * torch.rand(count, 3, 8, 8, generator=generator)
    images[torch.arange(count), labels] += 0.5
    return Images(to_pixels(images), labels)


def whiten_patch(images: Images) -> Images:
    pixels = images.pixels.clone()
    pixels[:, :, 3:5, 3:5] = 255
    return Images(pixels, images.labels)


def granted(clean: Images, triggered: Images, pool: Images, classes: int = 4) -> Granted:
    """Grant pairs and a pool."""
    names = [str(i) for i in range(max(len(clean), len(triggered)))]
    samples = (
        ImageSamples(images, source, names[: len(images)])
        for images, source in ((clean, "clean"), (triggered, "triggered"))
    )
    evidence = Evidence(*samples, range(len(triggered)))
    labels = Both(clean.labels, triggered.labels)
    return Granted(evidence, labels, 0, labelled(pool), classes)


def inputs_of(images: Images) -> Tensor:
    """Images as the nets take them."""
    return normalise(to_float(images.pixels))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def accuracy(defence, images: Images) -> float:
    """Share of the images that a defence answers with their label."""
    answered = defence(inputs_of(images)).predictions
    return float((answered == images.labels).double().mean())


def is_as_before(model: nn.Module, before: dict[str, Tensor]) -> bool:
    """Whether a model in evaluation mode has its weights, without hooks, and none is frozen."""
    return (
        not model.training
        and all(parameter.requires_grad for parameter in model.parameters())
        and all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    )
