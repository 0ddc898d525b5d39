"""Are there enough clean samples outside of each class?"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..common.errors import CalibrationError

MIN_OTHERS = 10
"""The least samples outside of each class. The share of a few that are led to it tells nothing."""


def require_others(predicted: Tensor, least: int, source: Path | str, what: str) -> None:
    """Refuse clean samples that are nearly all predicted as one class.

    Args:
        predicted: their classes, (N,) int64.
        least: so many must be of other classes than the most frequent one.
        source: where they come from.
        what: they are: samples, rows or texts.

    Raises:
        CalibrationError: they are.
    """
    counts = predicted.bincount()
    most = int(counts.argmax())
    if len(predicted) - int(counts[most]) < least:
        raise CalibrationError(
            f"{source}: {counts[most]} of {len(predicted)} clean {what} are predicted as class "
            f"{most}, expected at least {least} of other classes: give clean {what} of more classes"
        )
