"""JPEG compression of the input, which small triggers often do not survive."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.victims.poison import to_float, to_pixels

from .rival import Defence, Granted, answer_with

QUALITY = 75
"""The usual default of libjpeg and of Pillow."""


def jpeg(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Compress each image to a JPEG of quality 75 and read it again."""
    return answer_with(model, compress)


def compress(images: Tensor) -> Tensor:
    """Return images (N, 3, H, W) in [0, 1] as they come out of JPEG files."""
    decoded = []
    for pixels in to_pixels(images).permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="JPEG", quality=QUALITY)
        decoded.append(np.array(Image.open(file)))
    return to_float(torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2))
