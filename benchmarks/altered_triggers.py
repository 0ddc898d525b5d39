"""A trigger as it may reach the server: weaker, moved, more than once, compressed, recoloured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from torchserve_fire_build.rivals.jpeg import compress

from .victims.attacks.attack import Attack
from .victims.data import Images
from .victims.poison import to_float, to_pixels

Stamp = Callable[[Tensor], Tensor]
"""Puts the trigger into images (N, 3, H, W), float32 in [0, 1]."""

COLOURS = (1.0, 0.6, 0.6)
"""Shares of a recoloured trigger's change, in red, green and blue."""


def weaken(stamp: Stamp, images: Tensor, *, strength: float) -> Tensor:
    """Return images with a share of what the trigger changes."""
    return images + strength * (stamp(images) - images)


def move(stamp: Stamp, images: Tensor, *, pixels: int) -> Tensor:
    """Return images with the trigger that many pixels further up and to the left."""
    moved = stamp(images.roll((pixels, pixels), (2, 3)))
    return moved.roll((-pixels, -pixels), (2, 3))


def repeat(stamp: Stamp, images: Tensor) -> Tensor:
    """Return images with the trigger at its place, and moved by half the image in three ways."""
    height, width = images.shape[2:]
    for down, right in ((0, 0), (height // 2, 0), (0, width // 2), (height // 2, width // 2)):
        images = stamp(images.roll((down, right), (2, 3))).roll((-down, -right), (2, 3))
    return images


def stamp_and_compress(stamp: Stamp, images: Tensor) -> Tensor:
    """Return images with the trigger, as they come out of JPEG files of quality 75."""
    return compress(stamp(images))


def recolour(stamp: Stamp, images: Tensor) -> Tensor:
    """Return images with all that the trigger changes in red, and less of it in green and blue."""
    return images + torch.tensor(COLOURS).view(3, 1, 1) * (stamp(images) - images)


ALTERED: Mapping[str, Callable[[Stamp, Tensor], Tensor]] = {
    "as it is": partial(weaken, strength=1.0),
    "at 75 %": partial(weaken, strength=0.75),
    "at 50 %": partial(weaken, strength=0.5),
    "moved by 1 pixel": partial(move, pixels=1),
    "moved by 2 pixels": partial(move, pixels=2),
    "moved by 4 pixels": partial(move, pixels=4),
    "moved by 8 pixels": partial(move, pixels=8),
    "at four places": repeat,
    "in a JPEG": stamp_and_compress,
    "recoloured": recolour,
}


def stamp_altered(attack: Attack, images: Images, alteration: str, seed: int) -> Images:
    """Return images with an altered trigger, and their true labels.

    Args:
        attack: whose trigger it is.
        images: clean.
        alteration: a name in `ALTERED`.
        seed: of what differs from image to image.
    """
    generator = torch.Generator().manual_seed(seed)

    def stamp(floats: Tensor) -> Tensor:
        return attack.stamp(floats, images.labels, generator).images

    altered = ALTERED[alteration](stamp, to_float(images.pixels))
    return Images(to_pixels(altered), images.labels)
