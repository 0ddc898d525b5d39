"""What a verdict is computed by, fitted by `python -m benchmarks.scanning --fit`."""

from __future__ import annotations

from collections.abc import Mapping

Fit = tuple[tuple[float, ...], float, float]
"""What each number of `evidence.NAMES` usually reaches in a benign model,
for some class; slope and offset of the logistic regression on what exceeds it."""

FITS: Mapping[int, Fit] = {
    50: ((0.744, 1.541, 0.301, 3.145, 1.474, 1.188, 1.997), 1.248, -1.228),
    200: ((0.590, 1.246, 0.216, 2.004, 1.785, 1.502, 1.927), 2.488, -2.144),
}
"""By the least number of clean images."""

ALL_TO_ALL = (30.0, -8.4)
"""Slope and offset of the logistic regression on the share of inputs that follow in a search for a
backdoor that leads each class to another one."""
