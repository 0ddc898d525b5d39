"""From the body of a request, or a file, to one sample of the model's input."""

from __future__ import annotations

import base64
import binascii
import io
import json
import warnings
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .bundle import InputDescription
from .errors import InputError

# EPS and the like would start other programs; these formats decode in process.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
MAX_PIXELS = 50_000_000


def read_body(body: Any, description: InputDescription) -> Tensor:
    """Turn a request's body into one sample.

    Args:
        body: what TorchServe hands over: raw bytes (an image), text (an image in base64), or
            decoded JSON: a nested list (one sample as the model takes it, already normalised),
            or an object whose `data` holds a list or base64 text. Bytes and text are read as JSON
            where the model takes a tensor or they begin as JSON does, which no image and no base64
            text do: gRPC, and `curl -T`, say no content type to decode by.
        description: what the model takes.

    Returns:
        float32 tensor of shape `description.shape`.

    Raises:
        InputError: the body is none of these, cannot be decoded, or has another shape.
    """
    if isinstance(body, (bytes, bytearray, str)) and (
        description.kind == "tensor" or body[:1] in (b"{", b"[", "{", "[")
    ):
        body = _decode_json(body)
    if isinstance(body, dict):
        if set(body) != {"data"}:
            raise InputError("JSON object: expected one key, 'data', with a list or base64 text")
        body = body["data"]
    if isinstance(body, list):
        return _tensor_from_list(body, description)
    if description.kind == "tensor":
        raise InputError(
            f"expected a JSON list of shape {list(description.shape)}, or {{'data': that list}}"
        )
    if isinstance(body, str):
        body = _decode_base64(body)
    if isinstance(body, (bytes, bytearray)):
        return image_to_tensor(bytes(body), description)
    raise InputError("expected an image, an image in base64, or a JSON list")


def image_to_tensor(data: bytes, description: InputDescription) -> Tensor:
    """Decode, convert, resize and normalise an image.

    Any mode is converted to the model's channels (RGB, or greyscale for one channel), EXIF
    orientation is applied, and transparency is dropped. Resizing is bilinear, with antialiasing,
    to (height, width) without keeping the aspect ratio.

    Args:
        data: the bytes of an image file.
        description: shape (C, H, W), mean and std.

    Returns:
        float32 tensor (C, H, W), `(pixels / 255 - mean) / std`.

    Raises:
        InputError: not a whole image of a known format, or too large.
    """
    channels, height, width = description.shape
    if not data:
        raise InputError("empty body: expected an image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"image of {image.width} x {image.height} pixels, expected at most "
                    f"{MAX_PIXELS} in all",
                    status=413,
                )
            # In place: else an image that is upright already, as most are, would be copied.
            ImageOps.exif_transpose(image, in_place=True)
            image = _convert(image, "RGB" if channels == 3 else "L")
            if image.size != (width, height):
                image = image.resize((width, height), Image.Resampling.BILINEAR)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(
            f"image too large, expected at most {MAX_PIXELS} pixels", status=413
        ) from None
    except Exception as error:  # A decoder's failure on foreign bytes is the input's fault.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if "BytesIO" in reason:
            reason = f"none of {', '.join(IMAGE_FORMATS)}"
        raise InputError(f"not a readable image: {reason[:200]}") from None
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8)).reshape(height, width, channels)
    mean = torch.tensor(description.mean).view(-1, 1, 1)
    std = torch.tensor(description.std).view(-1, 1, 1)
    return pixels.permute(2, 0, 1).contiguous().float().div_(255).sub_(mean).div_(std)


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "F":
        raise InputError("image of floating point pixels: their range is not known")
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow clips 16 bits to 8 instead of scaling them.
        values = np.asarray(image).astype(np.float32).clip(0, 65535) / 257
        image = Image.fromarray(values.round().astype(np.uint8))
    return image if image.mode == mode else image.convert(mode)


def _decode_json(text: bytes | bytearray | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("not JSON: expected a list of numbers, or an object with 'data'") from None


def _decode_base64(text: str) -> bytes:
    if text.startswith("data:") and "," in text:
        text = text.split(",", 1)[1]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InputError("text body: expected an image in base64") from None


def _tensor_from_list(values: list[Any], description: InputDescription) -> Tensor:
    expected = list(description.shape)
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise InputError(f"JSON list: ragged or too deep, expected shape {expected}") from None
    if array.dtype.kind not in "iuf":
        raise InputError(f"JSON list: expected numbers only, of shape {expected}")
    if array.shape != description.shape:
        raise InputError(f"JSON list of shape {list(array.shape)}, expected {expected}")
    with np.errstate(over="ignore"):
        tensor = torch.from_numpy(array.astype(np.float32))
    if not bool(torch.isfinite(tensor).all()):
        raise InputError("JSON list: expected finite numbers that float32 can hold")
    return tensor
