"""The mark of image files that hold what a model was given, and not what somebody sent.

Such an image has been resized and cropped, which must not be done to it again.
"""

from __future__ import annotations

import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo

KEY, VALUE = "torchserve-fire", "as the model saw it"


def kept_input_mark() -> PngInfo:
    """Return the mark, to be given to Pillow as `pnginfo`."""
    mark = PngInfo()
    mark.add_text(KEY, VALUE)
    return mark


def holds_kept_input(data: bytes) -> bool:
    """Whether the bytes of a file are those of an image with the mark."""
    if KEY.encode() not in data:
        return False
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return is_kept_input(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def is_kept_input(image: Image.Image) -> bool:
    """Whether an opened file has the mark."""
    return image.format == "PNG" and image.info.get(KEY) == VALUE
