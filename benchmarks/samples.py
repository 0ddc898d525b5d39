"""Images of the benchmark as the samples that a build takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire_build.sanitize.labelled_samples import LabelledSamples

from .victims.data import Images
from .victims.poison import to_float
from .victims.train import MEAN, STD, normalise


class ImageSamples:
    """Images in memory.

    Args:
        images: 8-bit, with their true labels.
        source: for messages.
        names: one for each; a triggered image is the partner of the clean one of the same name.
    """

    class_names: Sequence[str] | None = None

    def __init__(self, images: Images, source: str, names: Sequence[str]) -> None:
        self.source = Path(source)
        self.names = names
        self.labels: Tensor | None = images.labels
        self._pixels = images.pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the images at `indices`, (n, 3, H, W) float32, normalised."""
        return normalise(to_float(self._pixels[torch.tensor(list(indices), dtype=torch.long)]))

    def describe_input(self, config: HandlerConfig) -> InputDescription:
        """Return what the victims take."""
        return InputDescription("image", tuple(self._pixels.shape[1:]), MEAN, STD)


def unlabelled(images: Images, source: str) -> ImageSamples:
    """Return images as the samples that a build takes, without their labels."""
    samples = ImageSamples(images, source, [f"{i}.png" for i in range(len(images))])
    samples.labels = None
    return samples


def labelled(images: Images) -> LabelledSamples:
    """Return images as the labelled samples that a method of `sanitize` takes."""
    names = [str(i) for i in range(len(images))]
    return LabelledSamples(ImageSamples(images, "images", names), images.labels)


class NoiseSamples:
    """Noise, made when it is asked for, so that it takes no memory; other noise each time."""

    class_names: Sequence[str] | None = None
    labels: Tensor | None = None

    def __init__(self, count: int, size: Sequence[int]) -> None:
        self.source = Path("noise")
        self.names: Sequence[str] = [str(i) for i in range(count)]
        self._size = tuple(size)
        self._generator = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return len(self.names)

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return as many samples, (n, *size)."""
        return torch.randn(len(indices), *self._size, generator=self._generator)

    def describe_input(self, config: HandlerConfig) -> InputDescription:
        """Return what a model that takes these samples takes."""
        return InputDescription("tensor", self._size)
