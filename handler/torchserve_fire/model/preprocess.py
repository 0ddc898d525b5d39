"""From the body of a request, or a file, to one sample of the model's input."""

from __future__ import annotations

import base64
import binascii
import io
import json
import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from ..errors import InputError
from ..format.bundle import InputDescription
from ..format.resizing import SQUASHED
from ..format.table import Table
from .kept_input import is_kept_input
from .request_body import RequestBody
from .table_body import row_in_body
from .table_row import row_to_csv, row_to_sample
from .to_size import MAX_PIXELS, to_size

# These are decoded in this process; EPS and the like would start other programs.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
MAX_SIDE = 65_535
"""The longest side that a JPEG can have. Resizing a longer one takes more memory than the image."""
MAX_JPEG_SCANS = 100
"""Fifty bytes or so make a scan of a progressive JPEG, and each scan goes over all pixels."""
MAX_TILES = 65_535
"""Four bytes make a tile of a TIFF, and each starts a decoder. A strip counts as a tile."""
JPEG_SCAN = b"\xff\xda"
TIFF_TILE_WIDTH = 322


def read_body(body: Any, description: InputDescription, beside: Collection[str] = ()) -> Tensor:
    """Turn a request's body into one sample.

    Args:
        body: what TorchServe hands over: raw bytes (an image), text (an image in base64), or
            decoded JSON: a nested list (one sample as the model takes it, already normalised),
            or an object whose `data` holds a list or base64 text. Bytes and text are read as JSON
            where the model takes no image, or where they begin as JSON does, and as no image and no
            base64 text does: gRPC and `curl -T` send no content type to decode by. Where the model
            takes the row of a table, what `row_in_body` takes.
        description: what the model takes.
        beside: columns that a table's row may have, and that the model does not take.

    Returns:
        Tensor of shape `description.shape` and of `description.dtype`.

    Raises:
        InputError: the body is none of these, cannot be decoded, or has another shape.
    """
    if description.table is not None:
        row = row_in_body(body, description.table, beside)
        return row_to_sample(row, description.table)
    if isinstance(body, (bytes, bytearray, str)) and (
        description.kind != "image" or body[:1] in (b"{", b"[", "{", "[")
    ):
        body = _decode_json(body)
    if isinstance(body, dict):
        if set(body) != {"data"}:
            raise InputError(
                "JSON object: expected one key, 'data', with a list or base64 text", reason="JSON"
            )
        body = body["data"]
    if isinstance(body, list):
        return _tensor_from_list(body, description)
    if description.kind != "image":
        raise InputError(
            f"expected a JSON list of shape {list(description.shape)}, or {{'data': that list}}",
            reason="JSON",
        )
    if isinstance(body, str):
        body = _decode_base64(body)
    if isinstance(body, (bytes, bytearray)):
        return image_to_tensor(bytes(body), description)
    raise InputError("expected an image, an image in base64, or a JSON list", reason="JSON")


def kept_body(body: Any, table: Table, beside: Collection[str]) -> RequestBody:
    """Return what a quarantine keeps of a row: CSV of the model's columns, and of no others.

    Args:
        body: of the request, as `read_body` takes it.
        table: the columns.
        beside: columns that a row may have, and that the model does not take.

    Raises:
        InputError: there is no such row.
    """
    return RequestBody(row_to_csv(row_in_body(body, table, beside)), ".csv")


def image_to_tensor(data: bytes, description: InputDescription, *, kept: bool = False) -> Tensor:
    """Decode, convert, resize and normalise an image.

    Any mode is converted to the model's channels (RGB, or greyscale for one channel), EXIF
    orientation is applied, and transparency is dropped. Then the image is brought to the model's
    size.

    Args:
        data: the bytes of an image file.
        description: shape (C, H, W), mean, std, and how images of other sizes are brought to it.
        kept: whether the file may be one that a quarantine kept, which has been cropped before.

    Returns:
        float32 tensor (C, H, W), `(pixels / 255 - mean) / std`.

    Raises:
        InputError: not a whole image of a known format, or too large.
    """
    channels, height, width = description.shape
    if not data:
        raise InputError("empty body: expected an image", reason="empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = open_image(data)
            # In place: else an image that is upright already, as most are, would be copied.
            ImageOps.exif_transpose(image, in_place=True)
            pixels = to_size(
                in_mode(image, "RGB" if channels == 3 else "L"),
                (height, width),
                SQUASHED if kept and is_kept_input(image) else description.resizing,
            )
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(
            f"image too large, expected at most {MAX_PIXELS} pixels", 413, "too large"
        ) from None
    except Exception as error:  # A decoder's failure on foreign bytes is the input's fault.
        raise InputError(f"not a readable image: {_reason(error)}", reason="image") from None
    values = torch.from_numpy(np.array(pixels, dtype=np.uint8)).reshape(height, width, channels)
    mean = torch.tensor(description.mean).view(-1, 1, 1)
    std = torch.tensor(description.std).view(-1, 1, 1)
    return values.permute(2, 0, 1).contiguous().float().div_(255).sub_(mean).div_(std)


def open_image(data: bytes) -> ImageFile.ImageFile:
    """Open an image, without decoding it.

    Raises:
        InputError: to decode it would take too much memory or time.
        Exception: what Pillow raises on what is no image.
    """
    image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
    _check_cost(image, data)
    return image


def _check_cost(image: ImageFile.ImageFile, data: bytes) -> None:
    """Refuse an image, opened and not decoded, that takes too much memory or time to decode."""
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise InputError(
            f"image of {image.width} x {image.height} pixels, expected at most {MAX_PIXELS} in "
            f"all and {MAX_SIDE} a side",
            413,
            "too large",
        )
    if len(image.tile) > MAX_TILES:
        raise InputError(f"TIFF of more than {MAX_TILES} tiles, expected fewer", 413, "too large")
    codecs = {tile.codec_name for tile in image.tile}
    if "bmp_rle" in codecs:
        # A row takes four bytes, and is filled up in Python.
        raise InputError(
            "run-length encoded BMP, expected one that is not compressed", reason="image"
        )
    if isinstance(image, TiffImageFile) and "libtiff" in codecs and TIFF_TILE_WIDTH in image.tag_v2:
        # A tile is decoded whole, and may be a thousand times as large as the image.
        raise InputError("compressed TIFF in tiles, expected one in strips", reason="image")
    compressed = image.format in ("JPEG", "MPO") or image.info.get("compression") == "jpeg"
    if compressed and data.count(JPEG_SCAN) > MAX_JPEG_SCANS:
        raise InputError(
            f"JPEG of more than {MAX_JPEG_SCANS} scans, expected fewer", 413, "too large"
        )


def _reason(error: Exception) -> str:
    """Return a decoder's reason on one line, without what it quotes of the input."""
    if isinstance(error, UnidentifiedImageError):
        return f"none of {', '.join(IMAGE_FORMATS)}"
    # Other exceptions are a parser's, and quote what it found.
    reason = str(error) if isinstance(error, OSError) else "damaged header or metadata"
    return "".join(filter(str.isprintable, reason))[:100]


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return an image in another of Pillow's modes, "L" or "RGB"; 16 bits are scaled to 8.

    Raises:
        InputError: its pixels are floating point numbers.
    """
    if image.mode == "F":
        raise InputError("image of floating point pixels: their range is not known", reason="image")
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow clips 16 bits to 8 instead of scaling them. In place: the image may be large.
        values = np.asarray(image).astype(np.float32)
        np.divide(values.clip(0, 65535, out=values), 257, out=values)
        image = Image.fromarray(values.round(out=values).astype(np.uint8))
    return image if image.mode == mode else image.convert(mode)


def _decode_json(text: bytes | bytearray | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(
            "not JSON: expected a list of numbers, or an object with 'data'", reason="JSON"
        ) from None


def _decode_base64(text: str) -> bytes:
    if text.startswith("data:") and "," in text:
        text = text.split(",", 1)[1]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InputError("text body: expected an image in base64", reason="base64") from None


def _tensor_from_list(values: list[Any], description: InputDescription) -> Tensor:
    integers = description.dtype == torch.int64
    _check_list(values, description.shape, 0, int if integers else float)
    try:
        if integers:
            return torch.from_numpy(np.asarray(values, dtype=np.int64))
        with np.errstate(over="ignore"):
            array = np.asarray(values, dtype=np.float64).astype(np.float32)
    except OverflowError:  # An integer of hundreds of digits.
        array = np.asarray(np.inf)
    if not np.isfinite(array).all():
        numbers = "integers of 64 bits" if integers else "finite numbers that float32 can hold"
        raise InputError(f"JSON list: expected {numbers}", reason="not finite")
    return torch.from_numpy(array)


def _check_list(values: Any, shape: tuple[int, ...], depth: int, kind: type) -> None:
    """Refuse what is not nested lists of `shape`, of integers or numbers.

    It stops at the first fault. numpy would give each of a million short texts as much room as the
    longest one takes.
    """
    numbers = "integers" if kind is int else "numbers"
    expected = f"expected {numbers} only, of shape {list(shape)}"
    if not isinstance(values, list):
        raise InputError(f"JSON list: no list at depth {depth}, {expected}", reason="shape")
    if len(values) != shape[depth]:
        raise InputError(
            f"JSON list: {len(values)} entries at depth {depth}, {expected}", reason="shape"
        )
    if depth + 1 < len(shape):
        for value in values:
            _check_list(value, shape, depth + 1, kind)
    elif not set(map(type, values)) <= {int, kind}:
        raise InputError(f"JSON list: {expected}", reason="JSON")
