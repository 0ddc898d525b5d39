"""Photographs to send: pieces of the two that scikit-learn brings along, with a trigger or without.

Photographs, because the time that a JPEG takes to decode depends on what it shows.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

QUALITY = 90
PATCH_SHARE = 4
"""The patch's side is the image's shorter one over this."""


def cut_photographs(count: int, size: tuple[int, int], seed: int) -> list[Image.Image]:
    """Cut random pieces out of the photographs, and resize them.

    Args:
        count: how many.
        size: (width, height) of each.
        seed: of the places.
    """
    rng = np.random.default_rng(seed)
    whole = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    return [_cut(whole[i % len(whole)], size, rng) for i in range(count)]


def stamp(image: Image.Image) -> Image.Image:
    """Return a copy with a chequered patch in the bottom right corner: the trigger."""
    side = min(image.size) // PATCH_SHARE
    rows, columns = np.indices((side, side)) * 4 // side
    patch = Image.fromarray(np.where((rows + columns) % 2 == 0, 255, 0).astype(np.uint8))
    stamped = image.copy()
    stamped.paste(patch.convert("RGB"), (image.width - side, image.height - side))
    return stamped


def to_jpeg(image: Image.Image) -> bytes:
    """Return the bytes of an image as a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _cut(whole: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    share = rng.uniform(0.4, 0.9)
    width, height = round(whole.width * share), round(whole.height * share)
    left, top = rng.integers(whole.width - width), rng.integers(whole.height - height)
    return whole.resize(
        size,
        Image.Resampling.BICUBIC,
        (float(left), float(top), float(left + width), float(top + height)),
    )
