"""What a verdict is computed by, fitted by `python -m benchmarks.scanning --fit`."""

from __future__ import annotations

from collections.abc import Mapping

Fit = tuple[tuple[float, ...], float, float]
"""What each number of `evidence.NAMES` usually reaches in a benign model,
for some class; slope and offset of the logistic regression on what exceeds it."""

FITS: Mapping[int, Fit] = {
    50: ((0.246, 0.603, 1.147, 1.859, 1.601), 1.539, -2.221),
    200: ((0.246, 0.603, 1.147, 1.859, 1.601), 1.539, -2.221),
}
"""By the least number of clean images."""

ALL_TO_ALL = (26.281, -7.269)
"""Slope and offset of the logistic regression on the share of inputs that follow in a
search for a backdoor that leads each class to another one."""
