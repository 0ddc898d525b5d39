"""The mark of image files that hold what a model was given, and not what somebody sent.

Such an image has been resized and cropped, which must not be done to it again.
"""

from __future__ import annotations

from PIL import Image
from PIL.PngImagePlugin import PngInfo

KEY, VALUE = "torchserve-fire", "as the model saw it"


def kept_input_mark() -> PngInfo:
    """Return the mark, to be given to Pillow as `pnginfo`."""
    mark = PngInfo()
    mark.add_text(KEY, VALUE)
    return mark


def is_kept_input(image: Image.Image) -> bool:
    """Whether an opened file has the mark."""
    return image.format == "PNG" and image.info.get(KEY) == VALUE
