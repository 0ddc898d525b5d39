"""What the values of flags must be: the `type=` functions of argparse.

Each turns a text into a value. Where it cannot, it raises `ArgumentTypeError` with the text and
what was expected.
"""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ...common.names import MAX_SEED

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
DURATION = re.compile(r"(.+?)([smh]?)", re.DOTALL)


def existing_file(text: str) -> Path:
    """Return the path of something that exists and is not a folder."""
    if _existing(text, "file").is_dir():
        raise argparse.ArgumentTypeError(f"{text}: is a folder, expected a file")
    return Path(text)


def existing_folder(text: str) -> Path:
    """Return the path of a folder."""
    if not _existing(text, "folder").is_dir():
        raise argparse.ArgumentTypeError(f"{text}: is a file, expected a folder")
    return Path(text)


def existing_samples(text: str) -> Path:
    """Return the path of a folder or a file of samples."""
    return _existing(text, "file or folder")


def address(text: str) -> str:
    """Return the address of a server."""
    if not re.match(r"https?://[^/]", text):
        raise argparse.ArgumentTypeError(
            f"{text}: expected an address that begins with http:// or https://, such as "
            "http://127.0.0.1:8081"
        )
    return text


def model_source(text: str) -> Path:
    """Return the path of a model file, or `timm:NAME` as if it were one."""
    return Path(text) if text.startswith("timm:") else existing_file(text)


def existing_weights(text: str) -> Path:
    """Return the path of a file of weights; of a folder, of those in it."""
    path = _existing(text, "file or folder")
    if not path.is_dir():
        return path
    names = ("model.safetensors", "model.safetensors.index.json")
    found = [path / name for name in names if (path / name).is_file()]
    if not found:
        raise argparse.ArgumentTypeError(
            f"{text}: a folder without {' or '.join(names)}, as save_pretrained writes: expected "
            "one with it, or a file"
        )
    return found[0]


def new_file(text: str) -> Path:
    """Return a path at which nothing exists yet."""
    if os.path.lexists(text):
        raise argparse.ArgumentTypeError(f"{text}: exists already, expected a new file")
    return Path(text)


def bundle_to_write(text: str) -> Path:
    """Return a path with the suffix of a bundle."""
    if Path(text).suffix != ".safetensors":
        _refuse(text, "a name ending in .safetensors")
    return Path(text)


def onnx_to_write(text: str) -> Path:
    """Return a path with the suffix of an ONNX graph."""
    if Path(text).suffix != ".onnx":
        _refuse(text, "a name ending in .onnx")
    return Path(text)


def handler(text: str) -> str:
    """Return a handler as torch-model-archiver takes it; a file of one must exist."""
    file = text.partition(":")[0]
    if file.endswith(".py"):
        existing_file(file)
    return text


def device(text: str) -> str:
    """Return the name of a device; whether it is there, only torch knows."""
    if re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text) is None:
        _refuse(text, "auto, cpu, cuda, cuda:N (as cuda:1) or mps")
    return text


def target(text: str) -> int | str | None:
    """Return the class that a trigger leads to, its index or name; None where it is to be found."""
    if text == "auto":
        return None
    if not text.strip() or text.startswith("-"):
        _refuse(text, "auto, or the index or the name of a class")
    return int(text) if text.isascii() and text.isdecimal() else text


def seed(text: str) -> int:
    """Return a seed that torch's generators take."""
    value = _whole(text)
    if value is None or not 0 <= value <= MAX_SEED:
        _refuse(text, "a whole number, 0 to 2**63 - 1")
    return value


def seconds(text: str) -> float:
    """Return the seconds of a duration: a number of them, or one with its unit."""
    found = DURATION.fullmatch(text)
    value = _number(found[1]) * UNITS[found[2]] if found else math.nan
    if not 0 < value < math.inf:
        _refuse(text, "a time above 0, in seconds (90 or 90s), minutes (2m) or hours (1.5h)")
    return value


def at_least(least: int) -> Callable[[str], int]:
    """Take whole numbers from one on."""

    def whole_number(text: str) -> int:
        value = _whole(text)
        if value is None or value < least:
            _refuse(text, f"a whole number, {least} or more")
        return value

    return whole_number


def above_zero(most: float = math.inf) -> Callable[[str], float]:
    """Take numbers above 0, up to one."""

    def number(text: str) -> float:
        value = _number(text)
        if not (0 < value <= most and math.isfinite(value)):
            limit = "" if math.isinf(most) else f", at most {most:g}"
            _refuse(text, f"a number above 0{limit}")
        return value

    return number


def zero_or_more(most: float = math.inf) -> Callable[[str], float]:
    """Take numbers from 0 on, up to one."""

    def number(text: str) -> float:
        value = _number(text)
        if not (0 <= value <= most and math.isfinite(value)):
            limit = "0 or more" if math.isinf(most) else f"0 to {most:g}"
            _refuse(text, f"a number, {limit}")
        return value

    return number


def _existing(text: str, kind: str) -> Path:
    path = Path(text)
    try:
        path.stat()
    except FileNotFoundError:
        raise argparse.ArgumentTypeError(f"{text}: no such {kind}") from None
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None
    return path


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _refuse(text: str, expected: str) -> NoReturn:
    raise argparse.ArgumentTypeError(f"{text}: expected {expected}")
