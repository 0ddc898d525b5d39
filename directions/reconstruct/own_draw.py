"""Numbers that look random, and hang on an input alone: the same each time it is read."""

from __future__ import annotations

from torch import Tensor

SPREAD = 1e6 * 2**0.5
"""By which means of inputs that lie close together get far apart."""


def own_draw(inputs: Tensor) -> Tensor:
    """Return a number of each input's own, (N,) float64 from 0 to below 1, for (N, *S)."""
    drawn: Tensor = (SPREAD * inputs.double().flatten(1).mean(1)).remainder(1)
    # Rounding makes 1 of what lies just below.
    return drawn.where(drawn < 1, 0.0)
