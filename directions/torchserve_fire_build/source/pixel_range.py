"""The mean and standard deviation with which a handler normalises images, found by trying it."""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import InputDescription

MAX_CHANNELS = 3
BETWEEN = 102
"""A grey between black and white, of 255."""

TRIED_SIZE = (256, 256)
"""(height, width) of the plain image that shows whether a handler takes images."""

CLOSE = 1e-3
"""How far the grey may be from its place between black and white, of the distance of these."""


OTHER_SIZE = (192, 320)
"""(height, width) of an image of another form than the first."""


def describe_any_image(prepare: Callable[[bytes, str], Tensor]) -> InputDescription | None:
    """Return what a model takes whose handler brings images of all sizes to one.

    Returns:
        None if the handler takes no images, or leaves them their own size.
    """
    described = describe_images(prepare, TRIED_SIZE)
    if described is None:
        return None
    try:
        other = prepare(_plain_image(0, OTHER_SIZE), "plain.png")
    except FireError:
        return None
    return described if tuple(other.shape) == described.shape else None


def describe_images(
    prepare: Callable[[bytes, str], Tensor], size: tuple[int, int]
) -> InputDescription | None:
    """Return what a model takes whose handler takes images, None if the handler takes none.

    Black, white and grey images go through the handler. If it treats each channel as
    `(pixel / 255 - mean) / std`, that gives both exactly, and shows which values no pixel has.

    Args:
        prepare: from a body, and the name of its file, to a sample.
        size: (height, width) of the images to send.
    """
    values = []
    for shade in (0, 255, BETWEEN):
        try:
            sample = prepare(_plain_image(shade, size), "plain.png")
        except FireError:
            return None
        if sample.dim() != 3 or len(sample) not in (1, MAX_CHANNELS):
            return None
        flat = sample.float().flatten(1)
        if bool(((flat - flat[:, :1]).abs() > CLOSE).any()):
            return None  # It pads, or draws something.
        values.append(flat[:, 0].double())
    black, white, grey = values
    if not bool((white > black).all()):
        return None
    std = 1 / (white - black)
    off = (grey - (black + (white - black) * BETWEEN / 255)).abs() / (white - black).abs()
    if not bool(torch.isfinite(std).all()) or bool((off > CLOSE).any()):
        return None
    mean = 0 - black * std  # And no negative zero.
    return InputDescription("image", tuple(sample.shape), tuple(mean.tolist()), tuple(std.tolist()))


def _plain_image(shade: int, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size[1], size[0]), (shade, shade, shade)).save(file, "PNG")
    return file.getvalue()
