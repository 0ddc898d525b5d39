"""JPEG compression of the input, which small triggers often do not survive."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from .pixels import on_images
from .rival import Defence, Granted, answer_with

QUALITY = 75
"""The usual default of libjpeg and of Pillow."""


def jpeg(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Compress each image to a JPEG of quality 75 and read it again.

    Raises:
        RivalNotApplicable: the model takes no images.
    """
    return answer_with(model, on_images(granted.description, compress))


def compress(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) in [0, 1], of one channel or three, as out of JPEG files."""
    decoded = []
    for pixels in (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(
            file, format="JPEG", quality=QUALITY
        )
        decoded.append(np.array(Image.open(file)).reshape(pixels.shape))
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).float() / 255
