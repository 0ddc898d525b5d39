"""What a verdict is computed by, fitted by `python -m benchmarks.scanning --fit`."""

from __future__ import annotations

from collections.abc import Mapping

Fit = tuple[tuple[float, ...], tuple[float, ...], float]
"""What each number of `evidence.NAMES` usually reaches in some class of a benign model;
weights and offset of the logistic regression on what exceeds it."""

FITS: Mapping[int, Fit] = {
    50: (
        (0.305, 0.554, 0.824, 0.664, 0.129, 1.773, 1.387),
        (3.072, 1.076, 0.833, 1.884, 1.014, 2.008, 1.374),
        -2.593,
    ),
    200: (
        (0.241, 0.439, 0.603, 0.392, 0.106, 1.671, 1.511),
        (1.929, 0.965, 0.726, 0.538, 0.891, 2.624, 0.762),
        -3.117,
    ),
}
"""By the least number of clean images."""

ALL_TO_ALL = (14.984, -6.459)
"""Slope and offset of the logistic regression on the share of inputs that follow in a
search for a backdoor that leads each class to another one."""
