"""Whether work may be left out because of the values: a traced graph is for all values."""

from __future__ import annotations

import torch
from torch import Tensor


def is_traced() -> bool:
    """Whether what runs now is traced by `torch.export`, with no values in its tensors.

    A PyTorch before 2.7 cannot say so. It serves; the extra `onnx` asks for a newer one.
    """
    is_exporting = getattr(torch.compiler, "is_exporting", None)
    return is_exporting is not None and bool(is_exporting())


def surely_none(mask: Tensor) -> bool:
    """Whether nothing in a mask is set; False of one that is traced, whose values are not known."""
    return not is_traced() and not bool(mask.any())
