"""Numbers that look random, and hang on an input alone: the same each time it is read."""

from __future__ import annotations

import torch
from torch import Tensor

SPREAD = 1e6 * 2**0.5
"""By which inputs that differ by little get numbers that lie far apart."""


def input_hash(inputs: Tensor) -> Tensor:
    """Return a number of each input's own, (N,) float64 from 0 to below 1, for (N, *S).

    Inputs of the same mean, as standardised maps are, get different ones: each value counts by a
    weight of its place. NaN gets 0.
    """
    flat = inputs.double().flatten(1)
    weights = torch.arange(1, flat.shape[1] + 1, dtype=torch.float64).sin()
    drawn: Tensor = (SPREAD * (weights * flat).sum(1)).remainder(1)
    # Rounding makes 1 of what lies just below.
    return drawn.where(drawn < 1, 0.0)
