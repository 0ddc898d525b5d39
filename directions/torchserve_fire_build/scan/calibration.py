"""What a verdict is computed by, fitted by `python -m benchmarks.scanning --fit`."""

from __future__ import annotations

USUAL = (0.5, 1.0, 0.2, 1.7, 2.0, 1.7, 2.4)
"""What each number of `evidence.NAMES` usually reaches for some class of a benign model."""

SLOPE, OFFSET = 4.0, -4.0
"""Of the logistic regression on what exceeds it."""
