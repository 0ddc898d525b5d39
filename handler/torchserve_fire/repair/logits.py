"""The logits in what a model returns, by the one rule that building, judging and serving share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from .parts import parts_of

ROUNDING = {torch.float32: 1e-4, torch.float64: 1e-4}
"""How far the sum of a row of probabilities may be from 1, by their dtype."""
COARSE = 2e-2
"""The same of dtypes of 16 bits and less."""


def find_logits(output: Any, rows: int | None = None) -> Tensor:
    """Return the logits in a model's output.

    They are the output itself; or its `logits`, as an attribute or by this key; or the one tensor
    (N, classes) in a tuple, a list, a dict or a dataclass.

    Args:
        output: the model's.
        rows: N; None for any.

    Returns:
        Floating point, (N, classes), a part of the output.

    Raises:
        ModelError: there are none, or several tensors could be they.
    """
    if isinstance(output, Tensor):
        if not _may_be_logits(output, rows, least=1):
            raise _refusal(output, rows)
        return output
    named = output.get("logits") if isinstance(output, Mapping) else None
    named = getattr(output, "logits", None) if named is None else named
    if named is not None:
        if not isinstance(named, Tensor) or not _may_be_logits(named, rows, least=1):
            raise _refusal(output, rows)
        return named
    # A single column, as of a confidence, tells no classes apart.
    found = [
        part
        for part in parts_of(output) or ()
        if isinstance(part, Tensor) and _may_be_logits(part, rows, least=2)
    ]
    if len(found) != 1:
        raise _refusal(output, rows)
    return found[0]


def are_probabilities(logits: Tensor) -> bool:
    """Whether all rows, (N, classes), are probabilities: of 0 or more, with a sum of 1."""
    if logits.shape[1] < 2 or not bool((logits >= 0).all()):
        return False
    off = (logits.double().sum(1) - 1).abs()
    return bool((off <= ROUNDING.get(logits.dtype, COARSE)).all())


def _may_be_logits(tensor: Tensor, rows: int | None, least: int) -> bool:
    return (
        tensor.is_floating_point()
        and tensor.dim() == 2
        and tensor.shape[1] >= least
        and (rows is None or rows == tensor.shape[0])
    )


def _refusal(output: Any, rows: int | None) -> ModelError:
    size = "N" if rows is None else rows
    return ModelError(
        f"the model's output is {_shown(output)}, expected logits ({size}, classes): as a tensor, "
        "as `logits` by name, or as the only such tensor"
    )


def _shown(value: Any) -> str:
    """Return what a value is, with the shapes of its tensors."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    parts = parts_of(value)
    if not parts:
        return f"a {type(value).__name__}"
    shown = [
        f"{tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
        for part in parts[:6]
    ]
    return f"a {type(value).__name__} of {', '.join(shown)}"
