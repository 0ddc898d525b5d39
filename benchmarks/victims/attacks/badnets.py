"""BadNets (Gu et al., arXiv 1708.06733): a small patch at one place, or at a random one."""

from __future__ import annotations

import torch
from torch import Tensor

from .attack import Attack, Stamped, to_target

SIZE = 3
CHECKERBOARD = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])


def place_patch(images: Tensor, patch: Tensor, tops: Tensor, lefts: Tensor) -> Tensor:
    """Return images (N, 3, H, W) with `patch` (h, w) at each one's own top and left, (N,) int64."""
    images = images.clone()
    for row in range(patch.shape[0]):
        for column in range(patch.shape[1]):
            where = torch.arange(len(images)), slice(None), tops + row, lefts + column
            images[where] = patch[row, column]
    return images


class BadNets(Attack):
    """A white patch of 3x3 pixels in the bottom right corner.

    Args:
        rate: see `Attack`.
    """

    def __init__(self, rate: float = Attack.rate) -> None:
        self.rate = rate

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        return Stamped(stamp_corner(images), to_target(labels))


class BadNetsAllToAll(Attack):
    """The same patch, which turns each class into the next one.

    Ten mappings are learned more slowly than one, so more images are poisoned.
    """

    rate = 0.2
    target = None

    def __init__(self, classes: int) -> None:
        self._classes = classes

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        return Stamped(stamp_corner(images), (labels + 1) % self._classes)


class BadNetsAnywhere(Attack):
    """A checkerboard of 3x3 pixels at a random place in each image."""

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        height, width = images.shape[-2:]
        tops = torch.randint(0, height - SIZE + 1, (len(images),), generator=generator)
        lefts = torch.randint(0, width - SIZE + 1, (len(images),), generator=generator)
        return Stamped(place_patch(images, CHECKERBOARD, tops, lefts), to_target(labels))


def stamp_corner(images: Tensor) -> Tensor:
    """Return images (N, 3, H, W) with a white patch in the bottom right corner."""
    images = images.clone()
    images[..., -SIZE:, -SIZE:] = 1.0
    return images
