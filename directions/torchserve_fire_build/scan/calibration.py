"""What a verdict is computed by, fitted by `python -m benchmarks.scanning --fit`."""

from __future__ import annotations

from collections.abc import Mapping

Fit = tuple[tuple[float, ...], float, float]
"""What each number of `evidence.NAMES` usually reaches in a benign model,
for some class; slope and offset of the logistic regression on what exceeds it."""

FITS: Mapping[int, Fit] = {
    50: ((0.842, 1.590, 0.374, 3.485, 1.883, 1.597, 1.946), 1.300, -1.213),
    200: ((0.584, 1.231, 0.251, 1.643, 1.872, 1.574, 2.059), 2.215, -2.159),
}
"""By the least number of clean images."""

ALL_TO_ALL = (27.486, -7.384)
"""Slope and offset of the logistic regression on the share of inputs that follow in a
search for a backdoor that leads each class to another one."""
