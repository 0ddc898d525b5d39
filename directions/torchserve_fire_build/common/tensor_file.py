"""Tensors in a temporary file, for what memory is too dear for."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping

import torch
from torch import Tensor


class TensorFile:
    """Tensors in a file without a name, which goes with this object, or with the process."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - open as long as this object.
        self._places: dict[str, tuple[int, Tensor]] = {}

    def store(self, tensors: Mapping[str, Tensor]) -> None:
        """Store tensors by name.

        Raises:
            OSError: there is no room for them.
        """
        for name, tensor in tensors.items():
            place = self._file.seek(0, 2)
            self._file.write(tensor.detach().cpu().contiguous().view(-1).numpy().data)
            self._places[name] = (place, torch.empty_like(tensor, device="meta"))
        self._file.flush()

    def load(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with a prefix, by the rest of their names."""
        return {
            name[len(prefix) :]: self._read(*where)
            for name, where in self._places.items()
            if name.startswith(prefix)
        }

    def _read(self, place: int, like: Tensor) -> Tensor:
        if not like.numel():
            return torch.empty(like.shape, dtype=like.dtype)
        contents = bytearray(like.numel() * like.dtype.itemsize)
        self._file.seek(place)
        self._file.readinto(contents)
        return torch.frombuffer(contents, dtype=like.dtype).view(like.shape)
