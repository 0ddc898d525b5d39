"""SHA-256 of a tensor's bytes."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def tensor_bytes(tensor: Tensor) -> memoryview:
    """Return a tensor's bytes in the order of its elements, without a copy where it has that order.

    Args:
        tensor: of any dtype and shape, on any device.
    """
    data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return data.numpy().data


def tensor_sha256(tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's bytes, as hexadecimal digits."""
    return hashlib.sha256(tensor_bytes(tensor)).hexdigest()
