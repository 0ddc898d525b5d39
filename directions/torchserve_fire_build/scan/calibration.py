"""What a verdict is computed by, fitted by `python -m benchmarks.scanning --fit`."""

from __future__ import annotations

USUAL = (0.555, 1.632, 0.196, 2.108, 1.921, 1.563, 1.627)
"""What each number of `evidence.NAMES` usually reaches for some class of a benign model."""

SLOPE, OFFSET = 1.110, -1.340
"""Of the logistic regression on what exceeds it."""
