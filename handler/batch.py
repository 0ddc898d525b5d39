"""Parts of a batch: picking some of its samples out, and putting their results back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from .errors import RepairError


def batch_size(values: Iterable[Any]) -> int | None:
    """Return N of the first tensor (N, ...) among `values`, or None where there is none."""
    return next((len(v) for v in values if isinstance(v, Tensor) and v.dim() > 0), None)


def select_samples(value: Any, index: Tensor, size: int) -> Any:
    """Pick the samples `index` (int64, (M,)) out of every tensor (size, ...) in `value`."""
    if isinstance(value, Tensor):
        return value[index] if value.dim() > 0 and len(value) == size else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(select_samples(v, index, size) for v in value))
    if isinstance(value, (tuple, list)):
        return type(value)(select_samples(v, index, size) for v in value)
    if isinstance(value, dict):
        return type(value)({k: select_samples(v, index, size) for k, v in value.items()})
    return value


def replace_samples(whole: Any, part: Any, index: Tensor, size: int) -> Any:
    """Return `whole` with the samples `index` of every tensor (size, ...) taken from `part`.

    Raises:
        RepairError: the two do not have the same structure.
    """
    if isinstance(whole, Tensor) and isinstance(part, Tensor):
        if whole.dim() == 0 or len(whole) != size:
            return whole
        result = whole.clone()
        result[index] = part.to(whole.dtype)
        return result
    if isinstance(whole, (tuple, list)) and isinstance(part, type(whole)):
        items = [replace_samples(w, p, index, size) for w, p in zip(whole, part, strict=True)]
        return type(whole)(*items) if hasattr(whole, "_fields") else type(whole)(items)
    if isinstance(whole, dict) and isinstance(part, dict):
        return type(whole)({k: replace_samples(v, part[k], index, size) for k, v in whole.items()})
    if whole is None and part is None:
        return whole
    raise RepairError(
        f"the model returned {type(whole).__name__} for the batch and {type(part).__name__} for "
        "its flagged samples: they cannot be merged"
    )
