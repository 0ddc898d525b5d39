"""What a verdict is computed by, fitted by `python -m benchmarks.scanning --fit`."""

from __future__ import annotations

from collections.abc import Mapping

Fit = tuple[tuple[float, ...], tuple[float, ...], float]
"""What each number of `evidence.NAMES` usually reaches in some class of a benign model;
weights and offset of the logistic regression on what exceeds it."""

FITS: Mapping[int, Fit] = {
    50: (
        (0.377, 0.554, 0.824, 0.664, 0.129, 1.773, 1.387),
        (2.647, 1.114, 0.951, 1.893, 1.065, 2.021, 1.383),
        -2.610,
    ),
    200: (
        (0.267, 0.439, 0.603, 0.392, 0.106, 1.671, 1.511),
        (1.621, 0.954, 0.754, 0.533, 0.875, 2.620, 0.741),
        -3.116,
    ),
}
"""By the least number of clean images."""

ALL_TO_ALL = (14.991, -6.487)
"""Slope and offset of the logistic regression on the share of inputs that follow in a
search for a backdoor that leads each class to another one."""
