"""A strict reader of the safetensors format.

A worker need not have the package `safetensors`: an archive runs in an environment that was made
without this project in mind. Files are written with that package (see `bundle_file.save_bundle`),
and the tests hold this reader against it.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import BundleError
from .fields import shown
from .json_object import parse_json_object

MAX_HEADER_BYTES = 100_000_000
MAX_DIMENSIONS = 64

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class SafetensorsFile:
    """The contents of a safetensors file.

    Attributes:
        tensors: name to tensor, each with memory of its own.
        metadata: the texts under `__metadata__`, by key.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def parse_safetensors(data: bytes, source: str) -> SafetensorsFile:
    """Read the bytes of a safetensors file.

    Args:
        data: the whole file.
        source: the file's name, for messages.

    Raises:
        BundleError: the bytes are not exactly one well-formed safetensors file: truncated,
            with bytes left over, overlapping or missing ranges, repeated names, unknown dtypes.
    """
    if len(data) < 8:
        raise BundleError(f"{source}: {len(data)} bytes, expected a safetensors file")
    if not holds_header(data):
        raise BundleError(
            f"{source}: truncated, or not a safetensors file: it has {len(data)} bytes, and does "
            "not hold the header whose length it begins with"
        )
    header_bytes = _header_bytes(data)
    header = parse_json_object(data[8 : 8 + header_bytes], f"{source}: header")
    body = memoryview(data)[8 + header_bytes :]

    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise BundleError(f"{source}: __metadata__: expected a map of strings")

    entries = sorted(
        (_Entry.parse(name, entry, source) for name, entry in header.items()),
        key=lambda entry: (entry.begin, entry.end),
    )
    position = 0
    for entry in entries:
        if entry.begin != position:
            raise BundleError(
                f"{source}: tensor {shown(entry.name)}: begins at byte {entry.begin}, "
                f"expected {position}"
            )
        position = entry.end
    if position != len(body):
        raise BundleError(
            f"{source}: the tensors take {position} bytes, the file holds {len(body)}: "
            "truncated, or something was appended"
        )
    return SafetensorsFile({entry.name: entry.read(body, source) for entry in entries}, metadata)


def holds_header(data: bytes) -> bool:
    """Return whether a file holds the header whose length it begins with."""
    return len(data) >= 8 and _header_bytes(data) <= min(MAX_HEADER_BYTES, len(data) - 8)


def _header_bytes(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


@dataclass(frozen=True)
class _Entry:
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int

    @classmethod
    def parse(cls, name: str, entry: Any, source: str) -> _Entry:
        where = f"{source}: tensor {shown(name)}"
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise BundleError(f"{where}: expected dtype, shape and data_offsets")
        if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
            raise BundleError(
                f"{where}: dtype {shown(entry['dtype'])}, expected one of {', '.join(DTYPES)}"
            )
        dtype = DTYPES[entry["dtype"]]
        shape, offsets = entry["shape"], entry["data_offsets"]
        if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
            raise BundleError(
                f"{where}: shape {shown(shape)}, expected a list of at most {MAX_DIMENSIONS} sizes"
            )
        if not _are_sizes(offsets) or len(offsets) != 2:
            raise BundleError(f"{where}: data_offsets {shown(offsets)}, expected two positions")
        begin, end = offsets
        size = math.prod(shape) * dtype.itemsize
        if end - begin != size:
            raise BundleError(
                f"{where}: {end - begin} bytes, expected {shown(size)} for shape {shown(shape)} "
                f"of {entry['dtype']}"
            )
        return cls(name, dtype, tuple(shape), begin, end)

    def read(self, body: memoryview, source: str) -> Tensor:
        if self.begin == self.end:
            try:
                return torch.empty(self.shape, dtype=self.dtype)
            except RuntimeError:  # Sizes whose strides overflow, beside a size of 0.
                where = f"{source}: tensor {shown(self.name)}"
                raise BundleError(f"{where}: shape {shown(list(self.shape))}, too large") from None
        data = bytearray(body[self.begin : self.end])
        return torch.frombuffer(data, dtype=self.dtype).reshape(self.shape)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 2**62 for v in value)
