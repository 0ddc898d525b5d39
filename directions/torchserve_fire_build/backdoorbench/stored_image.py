"""An image as Pillow's own objects are pickled, read without Pillow's own unpickling."""

from __future__ import annotations

from typing import Any

from PIL import Image

MODES = {"RGB": 3, "L": 1}
"""Bytes of a pixel in the modes that images of these data sets have."""

MAX_SIDE = 4096
"""Far more than the largest image of a data set."""


class StoredImage:
    """Takes the place of a pickled image, and keeps what belongs to it as it is."""

    def __init__(self) -> None:
        self._state: Any = None

    def __setstate__(self, state: Any) -> None:
        """Keep what the pickle says of the image: its info, mode, size, palette and pixels."""
        self._state = state

    def decoded(self) -> Image.Image:
        """Return the image.

        Raises:
            ValueError: it is none, or not as large as it says.
        """
        try:
            _, mode, (width, height), _, pixels, *_ = self._state
            sides = 0 < int(width) <= MAX_SIDE and 0 < int(height) <= MAX_SIDE
        except (TypeError, ValueError):
            raise ValueError("no image as Pillow pickles it") from None
        if mode not in MODES:
            raise ValueError(f"an image of mode {mode!r}, expected {' or '.join(MODES)}")
        if (
            not sides
            or not isinstance(pixels, bytes)
            or len(pixels) != (width * height * MODES[mode])
        ):
            raise ValueError(f"an image of {width} x {height} pixels whose pixels are not as many")
        return Image.frombytes(mode, (width, height), pixels)
