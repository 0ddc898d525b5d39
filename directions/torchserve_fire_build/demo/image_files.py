"""The demo's digits as image files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from .digits import Digits


def write_images(digits: Digits, names: Sequence[int], folder: Path) -> list[Path]:
    """Write PNG files in one subfolder per class.

    Args:
        digits: the images.
        names: one number per image; a triggered image with the number of a clean one is its pair.
        folder: where to.

    Returns:
        The files, in the order of the images.
    """
    for label in sorted(set(digits.labels.tolist())):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
    paths = [
        folder / str(label) / f"{name:04d}.png"
        for label, name in zip(digits.labels.tolist(), names, strict=True)
    ]
    for image, path in zip(digits.images, paths, strict=True):
        Image.fromarray(image).save(path)
    return paths


def read_images(files: Sequence[Path]) -> npt.NDArray[np.uint8]:
    """Return images of files, (N, H, W)."""
    return np.stack([np.asarray(Image.open(file)) for file in files])
