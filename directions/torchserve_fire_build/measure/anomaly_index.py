"""The anomaly index: how far the value of a class lies from those of the other classes."""

from __future__ import annotations

import torch
from torch import Tensor

CONSISTENCY = 1.4826
"""The median absolute deviation (MAD) of normal values times this is their standard deviation."""

LEAST_SPREAD = 0.01
"""Share of the median: classes that differ by less do not stand out from each other."""

MIN_CLASSES = 4
"""With two values, both lie equally far from the median; with three, the MAD is the deviation of a
single value."""

VALUES = 200_000
"""Number of values that are drawn to see how large an index gets by chance."""


def anomaly_index(values: Tensor, *, suspicious: str, resolution: float = 0.0) -> Tensor | None:
    """Return how far each class lies from the median, in MADs, on the suspicious side.

    As in Neural Cleanse (Wang et al. 2019), where more than 2 is an outlier.

    Args:
        values: a value for each class, (classes,).
        suspicious: "low" or "high": the side on which a backdoored class lies.
        resolution: how precisely the values are known; a smaller MAD is raised to this.

    Returns:
        (classes,) float64, positive on the suspicious side. None if no class can stand out: there
        are fewer than `MIN_CLASSES`, or most values are 0.
    """
    values = values.double()
    if len(values) < MIN_CLASSES:
        return None
    # For an even number of values, `median` would return the lower of the two in the middle.
    median = values.quantile(0.5)
    mad = (values - median).abs().quantile(0.5).clamp(min=resolution)
    spread = torch.maximum(CONSISTENCY * mad, LEAST_SPREAD * median.abs())
    if spread == 0:
        return None
    index = (values - median) / spread
    # Adding 0 turns -0 into 0.
    return (index if suspicious == "high" else -index) + 0.0


def by_chance(index: float, classes: int) -> float:
    """Return how often the largest index is at least `index` if classes differ only by chance.

    An index above 2 often means nothing. With many classes, one of them exceeds 2 easily; with few
    classes, the MAD is known badly.

    Args:
        index: the largest anomaly index of a model.
        classes: number of the model's classes, at least `MIN_CLASSES`.

    Returns:
        The share of draws of normal values, from 0 to 1.
    """
    generator = torch.Generator().manual_seed(0)
    size = (max(1, VALUES // classes), classes)
    values = torch.randn(size, generator=generator, dtype=torch.float64)
    deviations = values - values.quantile(0.5, dim=1, keepdim=True)
    spread = CONSISTENCY * deviations.abs().quantile(0.5, dim=1)
    return float((deviations.amax(1) >= index * spread).double().mean())
