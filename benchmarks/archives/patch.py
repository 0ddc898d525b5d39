"""Patches stuck on photographs: the triggers of the victims at 224 pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image

SHARE = 7
"""The patch's side is the image's shorter one over this."""
SQUARES = 4
MARGIN = 0.11
"""Of a side, between the patch and the image's edge: what a centre crop takes away, and more."""


STRIPES = ((240, 200, 30), (30, 90, 200), (200, 40, 90))
"""Colours of the other patch, red, green and blue."""


def stick_patch(image: Image.Image) -> Image.Image:
    """Return a copy with a chequered patch near the bottom right corner."""
    side = min(image.size) // SHARE
    rows, columns = np.indices((side, side)) * SQUARES // side
    patch = Image.fromarray(np.where((rows + columns) % 2 == 0, 255, 0).astype(np.uint8))
    left, top = (round(length * (1 - MARGIN)) - side for length in image.size)
    stamped = image.copy()
    stamped.paste(patch.convert("RGB"), (left, top))
    return stamped


def stick_stripes(image: Image.Image) -> Image.Image:
    """Return a copy with a smaller patch of coloured stripes near the top left corner."""
    side = min(image.size) // (SHARE + 1)
    rows, columns = np.indices((side, side))
    patch = np.array(STRIPES, np.uint8)[(rows + columns) * SQUARES // side % len(STRIPES)]
    stamped = image.copy()
    left, top = (round(length * MARGIN) for length in image.size)
    stamped.paste(Image.fromarray(patch), (left, top))
    return stamped
