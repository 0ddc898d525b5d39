"""Bringing an image to the size that the model takes, as torchvision does, without torchvision."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from ..errors import InputError
from ..format.resizing import Resizing

MAX_PIXELS = 50_000_000
"""Of an image as it is sent, and of what it is resized to before it is cropped."""

PILLOW_NAMES = {"nearest-exact": "nearest"}
"""Pillow's names of interpolations, where they differ from torchvision's."""


def to_size(image: Image.Image, size: tuple[int, int], resizing: Resizing) -> Image.Image:
    """Resize an image, and cut out its centre.

    Args:
        image: of the mode "RGB" or "L".
        size: (height, width) of the result.
        resizing: how.

    Raises:
        InputError: the image is so narrow that it would be huge once its shorter side has the
            length that it is resized to.
    """
    if not resizing.crop:
        return _resized(image, size, resizing)
    if resizing.resize is not None:
        between = resizing.resize
        if isinstance(between, int):
            between = _with_shorter_side(between, image)
        image = _resized(image, between, resizing)
    return _centre(image, size)


def _with_shorter_side(length: int, image: Image.Image) -> tuple[int, int]:
    """Return the (height, width) of an image whose shorter side is resized to a length."""
    shorter, longer = sorted(image.size)
    other = int(length * longer / shorter)
    if length * other > max(MAX_PIXELS, length**2):
        raise InputError(
            f"image of {image.width} x {image.height} pixels, which would have {length} x {other} "
            f"once it is resized, expected at most {MAX_PIXELS} in all",
            413,
            "too large",
        )
    return (other, length) if image.width <= image.height else (length, other)


def _resized(image: Image.Image, size: tuple[int, int], resizing: Resizing) -> Image.Image:
    height, width = size
    if image.size == (width, height):
        return image
    if resizing.antialias:
        name = PILLOW_NAMES.get(resizing.interpolation, resizing.interpolation)
        return image.resize((width, height), Image.Resampling[name.upper()])
    # Pillow cannot do without.
    pixels = torch.from_numpy(np.array(image).reshape(image.height, image.width, -1))
    pixels = interpolate(
        pixels.permute(2, 0, 1)[None].float(), size=size, mode=resizing.interpolation
    )
    # A bicubic curve leaves the range.
    pixels = pixels[0].clamp_(0, 255).round_().byte().permute(1, 2, 0)
    return Image.fromarray(pixels.numpy() if image.mode == "RGB" else pixels[:, :, 0].numpy())


def _centre(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Cut out the centre of a (height, width); what the image lacks of it is black."""
    height, width = size
    top, left = _start(image.height, height), _start(image.width, width)
    # Pillow fills up with black.
    return image.crop((left, top, left + width, top + height))


def _start(length: int, wanted: int) -> int:
    """Return where the centre begins along a side; below 0 where the side is too short."""
    if wanted > length:
        return -((wanted - length) // 2)
    return round((length - wanted) / 2)
