"""What a verdict is computed by, fitted by `python -m benchmarks.scanning --fit`."""

from __future__ import annotations

from collections.abc import Mapping

Fit = tuple[tuple[float, ...], float, float]
"""What each number of `evidence.NAMES` usually reaches in a benign model,
for some class; slope and offset of the logistic regression on what exceeds it."""

FITS: Mapping[int, Fit] = {
    50: ((0.305, 0.824, 1.720, 1.822, 1.659), 1.242, -1.774),
    200: ((0.241, 0.603, 1.158, 1.869, 1.590), 1.043, -2.180),
}
"""By the least number of clean images."""

ALL_TO_ALL = (14.984, -6.459)
"""Slope and offset of the logistic regression on the share of inputs that follow in a
search for a backdoor that leads each class to another one."""
