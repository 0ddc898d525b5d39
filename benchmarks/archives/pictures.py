"""Image files of the zips: to train on, to build from, and to measure on."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Picture:
    """An image file and its class.

    Attributes:
        contents: bytes of the file.
        label: index of its class's folder, in the order of their names.
    """

    contents: bytes
    label: int

    def decoded(self) -> Image.Image:
        """Return the image, in RGB."""
        return Image.open(io.BytesIO(self.contents)).convert("RGB")


def read_pictures(source: Path, part: str) -> list[Picture]:
    """Read the files of `PART/CLASS/*` in a zip, class by class, each in the order of names.

    Raises:
        SystemExit: there is no such zip, or it has no such folders.
    """
    if not zipfile.is_zipfile(source):
        raise SystemExit(f"{source}: no such zip, expected one with train/CLASS and test/CLASS")
    with zipfile.ZipFile(source) as archive:
        names = sorted(n for n in archive.namelist() if n.count("/") == 2 and not n.endswith("/"))
        of_part = [name for name in names if name.startswith(f"{part}/")]
        if not of_part:
            raise SystemExit(f"{source}: no files in {part}/CLASS")
        classes = sorted({name.split("/")[1] for name in of_part})
        return [Picture(archive.read(name), classes.index(name.split("/")[1])) for name in of_part]


def to_png(image: Image.Image) -> bytes:
    """Return an image as the bytes of a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def to_tensor(images: Sequence[Image.Image]) -> Tensor:
    """Return images of one size as (N, 3, H, W) uint8."""
    pixels = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())


def labels_of(pictures: Sequence[Picture]) -> Tensor:
    """Return the labels, (N,) int64."""
    return torch.tensor([picture.label for picture in pictures])
