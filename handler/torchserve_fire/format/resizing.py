"""How images of other sizes are brought to the size that the model takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .fields import Fields

INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "nearest-exact", "box", "hamming", "lanczos")
"""As torchvision calls them."""

NOT_SMOOTHED = ("bilinear", "bicubic")
"""Those that can do without antialiasing: the others never, or always, average over pixels."""

MAX_IMAGE_SIDE = 16384


@dataclass(frozen=True)
class Resizing:
    """How images are brought to the model's (height, width), in torchvision's sense of the words.

    As it is by default, images are squashed to that size.

    Attributes:
        resize: where images are cropped: what they are resized to before, the length of the shorter
            side, or (height, width); None: they are not. Without a crop always None: the model's
            size is what images are resized to.
        crop: whether the centre of the model's size is cut out. What an image lacks there is black.
        interpolation: one of `INTERPOLATIONS`.
        antialias: whether a smaller image is made by averaging over all its pixels, as Pillow does
            it. If not, as torchvision resizes a tensor of bytes with `antialias=False`.
    """

    resize: int | tuple[int, int] | None = None
    crop: bool = False
    interpolation: str = "bilinear"
    antialias: bool = True

    def settings(self, size: tuple[int, ...]) -> dict[str, Any]:
        """Return it by the names that the settings have, for a model of the size (H, W)."""
        resize = list(self.resize) if isinstance(self.resize, tuple) else self.resize
        return {
            "resize": resize if self.crop else list(size),
            "crop": list(size) if self.crop else None,
            "interpolation": self.interpolation,
            "antialias": self.antialias,
        }

    def stored(self) -> Mapping[str, Any]:
        """Return its fields as JSON has them."""
        resize = list(self.resize) if isinstance(self.resize, tuple) else self.resize
        return {
            "resize": resize,
            "crop": self.crop,
            "interpolation": self.interpolation,
            "antialias": self.antialias,
        }


SQUASHED = Resizing()
"""Images are resized to the model's size, whatever their aspect ratio."""


def read_resizing(fields: Fields) -> Resizing:
    """Read what `Resizing.stored` gives.

    Raises:
        FireError: a field is missing, unknown, or has a wrong value.
    """
    if fields.has("resize") and fields.peek("resize") is None:
        fields.null("resize")
        resize = None
    else:
        resize = read_sides(fields, "resize")
    crop = fields.boolean("crop")
    interpolation, antialias = read_interpolation(fields)
    if resize is not None and not crop:
        fields.refuse("resize", resize, "null where images are not cropped")
    fields.finish()
    return Resizing(resize, crop, interpolation, antialias)


def read_sides(fields: Fields, name: str) -> int | tuple[int, int]:
    """Take the length of a side in pixels, or [height, width].

    Raises:
        FireError: it is neither, or too large.
    """
    value = fields.raw(name)
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2 or not all(
        type(side) is int and 0 < side <= MAX_IMAGE_SIDE for side in sides
    ):
        fields.refuse(name, value, f"pixels, or [height, width], of at most {MAX_IMAGE_SIDE} each")
    return value if isinstance(value, int) else (sides[0], sides[1])


def read_interpolation(fields: Fields) -> tuple[str, bool]:
    """Take `interpolation` and `antialias`, which go together.

    Returns:
        Both; "bilinear" and true for what is not there.

    Raises:
        FireError: one has a wrong value, or does not go with the other.
    """
    interpolation, antialias = "bilinear", True
    if fields.has("interpolation"):
        interpolation = fields.choice("interpolation", INTERPOLATIONS)
    if fields.has("antialias"):
        antialias = fields.boolean("antialias")
    if not antialias and interpolation not in NOT_SMOOTHED:
        fields.refuse(
            "antialias",
            antialias,
            f"true with interpolation: {interpolation}, which it does not change",
        )
    return interpolation, antialias
