"""Pictures of 32 pixels as clients send them to victims of the benchmark: larger, in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..measure import STAMP_SEED, draw_test_images
from ..victims.attacks.attack import Attack
from ..victims.data import Data, Images, load_data
from ..victims.poison import stamp_images
from ..victims.recipe import Recipe
from ..victims.train import Victim, obtain_backdoored
from .case import Sample
from .pictures import to_png

ARCHIVE = "cifar10-jpg.zip"
PAIRS = 200
TEST = 1000
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def obtain_small(data: Path, cache: Path, recipe: Recipe) -> tuple[Data, Victim, Attack]:
    """Return images, and a victim with its attack: from the cache, else trained now.

    Args:
        data: folder of the zips.
        cache: folder.
        recipe: of the victim.
    """
    images = load_data(data / ARCHIVE, cache)
    victim, attack = obtain_backdoored(recipe, images, cache)
    return images, victim, attack


def draw_samples(
    data: Data, attack: Attack, target: int, border: tuple[int, int]
) -> tuple[list[Sample], list[Sample]]:
    """Return samples to build from, 200 of them of other classes than the target, and to test with.

    Args:
        data: the images.
        attack: stamps them.
        target: its target.
        border: of each picture, pixels above and below, and to the left and right.
    """
    others = (data.pool.labels != target).cumsum(0)
    to_build = data.pool.at(torch.arange(int((others <= PAIRS).sum())))
    test = draw_test_images(data)[0].at(torch.arange(TEST))
    return _samples(to_build, attack, border), _samples(test, attack, border)


def _samples(images: Images, attack: Attack, border: tuple[int, int]) -> list[Sample]:
    stamped = stamp_images(attack, images, torch.Generator().manual_seed(STAMP_SEED))
    return [
        Sample(_to_file(clean, border), _to_file(triggered, border), label)
        for clean, triggered, label in zip(
            images.pixels, stamped.pixels, images.labels.tolist(), strict=True
        )
    ]


def _to_file(pixels: Tensor, border: tuple[int, int]) -> bytes:
    """Return an image with a border around it, twice as large, as the bytes of a PNG file."""
    high, wide = border
    padded = np.pad(pixels.permute(1, 2, 0).numpy(), ((high, high), (wide, wide), (0, 0)), "edge")
    return to_png(Image.fromarray(padded.repeat(2, axis=0).repeat(2, axis=1)))
