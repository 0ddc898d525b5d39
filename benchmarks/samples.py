"""Images of the benchmark as the samples that a build takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.samples.samples import Samples
from torchserve_fire_build.sanitize.labelled_samples import LabelledSamples

from .evidence import Evidence
from .victims.data import Images
from .victims.poison import to_float
from .victims.train import MEAN, STD, normalise


class ImageSamples(Samples):
    """Images in memory, normalised when they are asked for.

    Args:
        images: 8-bit, with their true labels.
        source: for messages.
        names: one for each; a triggered image is the partner of the clean one of the same name.
    """

    def __init__(self, images: Images, source: str, names: Sequence[str]) -> None:
        description = InputDescription("image", tuple(images.pixels.shape[1:]), MEAN, STD)
        super().__init__(source, names, description, labels=images.labels)
        self._pixels = images.pixels

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the images at `indices`, (n, 3, H, W) float32, normalised."""
        return normalise(to_float(self._pixels[torch.tensor(list(indices), dtype=torch.long)]))


def as_samples(evidence: Evidence) -> tuple[ImageSamples, ImageSamples]:
    """Return clean and triggered images as samples; those of a pair have the same name."""
    count = len(evidence.clean)
    names = [f"{i}.png" for i in range(count)]
    # Names of their own say that these triggered images have no partners.
    others = [f"{count + i}.png" for i in range(len(evidence.triggered))]
    triggered = names[: len(evidence.triggered)] if evidence.paired else others
    return (
        ImageSamples(evidence.clean, "clean", names),
        ImageSamples(evidence.triggered, "triggered", triggered),
    )


def without_labels(images: Images, source: str) -> ImageSamples:
    """Return images as the samples that a build takes, without their labels."""
    samples = ImageSamples(images, source, [f"{i}.png" for i in range(len(images))])
    samples.labels = None
    return samples


def labelled(images: Images) -> LabelledSamples:
    """Return images as the labelled samples that a method of `sanitize` takes."""
    names = [str(i) for i in range(len(images))]
    return LabelledSamples(ImageSamples(images, "images", names), images.labels)


class NoiseSamples(Samples):
    """Noise, made when it is asked for, so that it takes no memory; other noise each time.

    Args:
        count: how many samples.
        size: of each, (*input shape).
    """

    def __init__(self, count: int, size: Sequence[int]) -> None:
        names = [str(i) for i in range(count)]
        super().__init__("noise", names, InputDescription("tensor", tuple(size)))
        self._generator = torch.Generator().manual_seed(0)

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return as many samples, (n, *size)."""
        return torch.randn(len(indices), *self.description.shape, generator=self._generator)
