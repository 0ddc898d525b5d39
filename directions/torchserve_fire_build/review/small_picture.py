"""Small pictures of flagged files, made of bytes that an attacker may have chosen."""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageOps

from torchserve_fire.errors import InputError
from torchserve_fire.model.preprocess import in_mode, open_image

from ..common.errors import SamplesError

SIDE = 128
"""Of a small picture, in pixels, at most."""

LARGE_SIDE = 640
"""Of the one that is shown by itself."""


def small_picture(data: bytes, side: int = SIDE) -> bytes:
    """Return a PNG file of an image, `side` pixels wide and high at most.

    It holds the pixels alone: what else the file holds is left out.

    Raises:
        SamplesError: it is no image, or takes too much to decode, as the server says.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = open_image(data)
            # Decoded small, where the format allows that.
            image.draft("RGB", (side, side))
            upright = ImageOps.exif_transpose(image)
            is_grey = upright.mode in ("1", "L", "I") or upright.mode.startswith("I;16")
            pixels = in_mode(upright, "L" if is_grey else "RGB")
            pixels.thumbnail((side, side))
    except InputError as error:
        raise SamplesError(str(error)) from None
    except Exception as error:  # Whatever a decoder raises on foreign bytes.
        raise SamplesError(f"not a readable image: {type(error).__name__}") from None
    file = io.BytesIO()
    # Without what the file said of itself, such as a colour profile.
    Image.frombytes(pixels.mode, pixels.size, pixels.tobytes()).save(file, "PNG")
    return file.getvalue()
