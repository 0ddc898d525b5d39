"""The weights of the evidence, fitted by `python -m benchmarks.scanning --fit`."""

from __future__ import annotations

WEIGHTS = (2.0, 1.0, 3.0, 0.8, 0.5, 0.5, 0.5)
"""Of the numbers in `evidence.NAMES`."""

OFFSET = -4.0
