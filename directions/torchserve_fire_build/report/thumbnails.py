"""Small pictures of samples, for reports."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..samples.samples import Samples, iterate
from .contact_sheet import displayed

SIDE = 48
"""Of a thumbnail, in pixels, at most."""

SHOWN_SIDE = 160
"""Of a picture that is shown by itself, at least, where the sample is smaller."""


def thumbnails(samples: Samples, indices: Sequence[int]) -> list[bytes]:
    """Return a small JPEG file of each sample at `indices`.

    Args:
        samples: that can be displayed; see `contact_sheet.can_be_displayed`.
        indices: which of them.
    """
    files = []
    for part, _ in iterate(samples, indices):
        for pixels in displayed(samples, part):
            image = _image(pixels)
            image.thumbnail((SIDE, SIDE))
            files.append(_file(image, "JPEG", quality=85))
    return files


def side_by_side(samples: Sequence[tuple[Samples, int]]) -> bytes:
    """Return one PNG file of several samples of one shape, given as (samples, index)."""
    images = [_image(displayed(group, [i])[0]) for group, i in samples]
    width, height = images[0].size
    scale = max(1, -(-SHOWN_SIDE // max(width, height)))
    sheet = Image.new(images[0].mode, (scale * width * len(images), scale * height))
    for i, image in enumerate(images):
        larger = image.resize((scale * width, scale * height), Image.Resampling.NEAREST)
        sheet.paste(larger, (i * scale * width, 0))
    return _file(sheet, "PNG")


def _image(pixels: npt.NDArray[np.float32]) -> Image.Image:
    return Image.fromarray((255 * pixels).round().astype(np.uint8))


def _file(image: Image.Image, kind: str, **options: int) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()
