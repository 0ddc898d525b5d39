"""Data classes that print on one line: of a tensor the dtype and shape, not the values."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor


class Compact:
    """Gives a data class, made with `repr=False`, a short `repr`."""

    def __repr__(self) -> str:
        assert is_dataclass(self)  # noqa: S101
        values = ", ".join(f"{x.name}={_compact(getattr(self, x.name))}" for x in fields(self))
        return f"{type(self).__name__}({values})"


def _compact(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"<{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}>"
    return repr(value)
