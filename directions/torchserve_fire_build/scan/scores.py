"""How far the value of a class lies below those of most classes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..measure.anomaly_index import CONSISTENCY


def scores_of(values: Tensor, resolution: float = 0.0) -> Tensor:
    """Return how far each class lies below the median, in robust standard deviations.

    Args:
        values: a value for each class, (n,) float64, lower is more suspicious; NaN for a class that
            has none.
        resolution: differences between classes of benign models that mean nothing, in the same
            unit. It joins the deviation of these classes, which few classes show badly.

    Returns:
        (n,) float64; 0 for a class without a value, and everywhere if no class differs.
    """
    known = values[values.isfinite()]
    if not len(known):
        return torch.zeros_like(values)
    # For an even number of values, `median` would return the lower of the two in the middle.
    median = known.quantile(0.5)
    deviation = CONSISTENCY * (known - median).abs().quantile(0.5)
    spread = torch.hypot(deviation, torch.tensor(resolution, dtype=values.dtype))
    if spread == 0:
        return torch.zeros_like(values)
    return ((median - values) / spread).nan_to_num(nan=0.0)
