"""The settings that say how an image gets the size that the model takes.

`image_size: [H, W]` squashes images, and is the same as `resize: [H, W]`. With a `crop`, what comes
out has the crop's size; `image_size` may be left out then.
"""

from __future__ import annotations

from ..errors import ConfigError
from ..format.fields import Fields
from ..format.resizing import MAX_IMAGE_SIDE, Resizing, read_interpolation, read_sides


def read_image_size(fields: Fields) -> tuple[tuple[int, int], Resizing]:
    """Take `image_size`, `resize`, `crop`, `interpolation` and `antialias`.

    Args:
        fields: the settings under `handler:`.

    Returns:
        (height, width) that the model takes, and how images of other sizes are brought to it. What
        does the same is the same: `resize: [H, W]` is `image_size: [H, W]`, and a crop that cuts
        nothing off is none.

    Raises:
        ConfigError: a setting has a wrong value, or two contradict each other.
    """
    resize = read_sides(fields, "resize") if fields.has("resize") else None
    crop = _read_crop(fields)
    named = [name for name in ("interpolation", "antialias") if fields.has(name)]
    interpolation, antialias = read_interpolation(fields)
    if crop is None:
        if resize is None:
            return _read_given(fields), Resizing(interpolation=interpolation, antialias=antialias)
        if isinstance(resize, int):
            raise ConfigError(
                f"{fields.where('resize')}: {resize} is the shorter side, which leaves images of "
                f"different sizes: add a crop (as crop: {resize}), or give resize: [height, width]"
            )
        _check_given(fields, resize, "resize")
        return resize, Resizing(interpolation=interpolation, antialias=antialias)
    if resize is None and named:
        raise ConfigError(
            f"{fields.where(named[0])}: without resize, images are only cropped: add resize, or "
            f"leave {named[0]} out"
        )
    if resize is not None:
        _check_covered(fields, resize, crop)
    _check_given(fields, crop, "crop")
    if resize == crop:  # Nothing is left to cut off.
        return crop, Resizing(interpolation=interpolation, antialias=antialias)
    return crop, Resizing(resize, True, interpolation, antialias)


def _read_given(fields: Fields) -> tuple[int, int]:
    size = fields.sizes("image_size")
    if len(size) != 2 or max(size) > MAX_IMAGE_SIDE:
        raise ConfigError(
            f"{fields.where('image_size')}: {list(size)}, expected [height, width] of at most "
            f"{MAX_IMAGE_SIDE} each"
        )
    return size[0], size[1]


def _check_given(fields: Fields, size: tuple[int, int], setting: str) -> None:
    """Refuse an `image_size` that is not what comes out."""
    if fields.has("image_size") and (given := _read_given(fields)) != size:
        raise ConfigError(
            f"{fields.where('image_size')}: {list(given)}, but images have the size {list(size)} "
            f"after {setting}: leave image_size out, or set both to what the model takes"
        )


def _read_crop(fields: Fields) -> tuple[int, int] | None:
    if not fields.has("crop"):
        return None
    crop = read_sides(fields, "crop")
    return (crop, crop) if isinstance(crop, int) else crop


def _check_covered(fields: Fields, resize: int | tuple[int, int], crop: tuple[int, int]) -> None:
    """Refuse a crop that is larger than what it is cut from: it would have a black frame."""
    if isinstance(resize, int):
        # The longer side is at least as long.
        is_larger = min(crop) > resize
    else:
        is_larger = crop[0] > resize[0] or crop[1] > resize[1]
    if is_larger:
        shown = resize if isinstance(resize, int) else list(resize)
        raise ConfigError(
            f"{fields.where('crop')}: {list(crop)} is larger than resize: {shown}, so that images "
            "would have a black frame: expected a crop of at most that"
        )
