"""What a verdict is computed by, fitted by `python -m benchmarks.scanning --fit`."""

from __future__ import annotations

from collections.abc import Mapping

Fit = tuple[tuple[float, ...], tuple[float, ...], float]
"""What each number of `evidence.NAMES` usually reaches in some class of a benign model;
weights and offset of the logistic regression on what exceeds it."""

FITS: Mapping[int, Fit] = {
    50: ((0.305, 0.824, 1.720, 1.822, 1.659), (2.332, 0.757, 0.682, 1.931, 0.941), -1.865),
    200: ((0.241, 0.603, 1.158, 1.869, 1.590), (1.707, 0.577, 0.802, 2.030, 0.782), -2.305),
}
"""By the least number of clean images."""

ALL_TO_ALL = (14.984, -6.459)
"""Slope and offset of the logistic regression on the share of inputs that follow in a
search for a backdoor that leads each class to another one."""
