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

CLOSE = 1e-3
"""How far the grey may be from its place between black and white, of the distance of these."""


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
    std = 1 / (white - black)
    off = (grey - (black + (white - black) * BETWEEN / 255)).abs() / (white - black).abs()
    if not bool(torch.isfinite(std).all()) or bool((std <= 0).any()) or bool((off > CLOSE).any()):
        return None
    mean = -black * std
    return InputDescription("image", tuple(sample.shape), tuple(mean.tolist()), tuple(std.tolist()))


def _plain_image(shade: int, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size[1], size[0]), (shade, shade, shade)).save(file, "PNG")
    return file.getvalue()
