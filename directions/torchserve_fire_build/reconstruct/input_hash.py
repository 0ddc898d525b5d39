"""Numbers that look random but depend only on an input: the same each time it is read."""

from __future__ import annotations

import torch
from torch import Tensor

SPREAD = 1e6 * 2**0.5
"""A factor so large that inputs which differ little get numbers that lie far apart."""


def input_hash(inputs: Tensor) -> Tensor:
    """Return a number for each of the inputs (N, *S), (N,) float64 in [0, 1).

    Each place has a weight of its own, so inputs with the same mean, such as standardised maps, get
    different numbers. An input with NaN gets 0. It is computed on the CPU, as every device rounds
    in its own way.
    """
    flat = inputs.cpu().double().flatten(1)
    weights = torch.arange(1, flat.shape[1] + 1, dtype=torch.float64).sin()
    drawn: Tensor = (SPREAD * (weights * flat).sum(1)).remainder(1)
    # Rounding may turn a number just below 1 into 1.
    return drawn.where(drawn < 1, 0.0)
