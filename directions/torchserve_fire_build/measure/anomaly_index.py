"""The anomaly index: how far the value of a class lies from those of the other classes."""

from __future__ import annotations

import torch
from torch import Tensor

CONSISTENCY = 1.4826
"""Makes the median absolute deviation (MAD) of normal values their standard deviation."""

LEAST_SPREAD = 0.01
"""Share of the median: classes that differ by less do not stand out from each other."""

MIN_CLASSES = 4
"""Of two values both lie as far from the median, and of three the MAD is that of a single one."""

VALUES = 200_000
"""Drawn to know how large an index is by chance."""


def anomaly_index(values: Tensor, *, suspicious: str, resolution: float = 0.0) -> Tensor | None:
    """Return by how many MADs each class lies on the suspicious side of the median.

    As in Neural Cleanse (Wang et al. 2019), where more than 2 is an outlier.

    Args:
        values: one for each class, (classes,).
        suspicious: "low" or "high": the side on which a backdoored class lies.
        resolution: how well the values are known: the MAD is taken to be no less.

    Returns:
        (classes,) float64, positive on the suspicious side. None where no class can stand out:
        there are less than `MIN_CLASSES`, or most values are 0.
    """
    values = values.double()
    if len(values) < MIN_CLASSES:
        return None
    # Of an even number, `median` would take the lower one of the two in the middle.
    median = values.quantile(0.5)
    mad = (values - median).abs().quantile(0.5).clamp(min=resolution)
    spread = torch.maximum(CONSISTENCY * mad, LEAST_SPREAD * median.abs())
    if spread == 0:
        return None
    index = (values - median) / spread
    # Plus 0, so that no class has -0.
    return (index if suspicious == "high" else -index) + 0.0


def by_chance(index: float, classes: int) -> float:
    """Return how often the largest index of classes that differ by chance is at least so large.

    The more classes there are, and the fewer, the worse their MAD is known, the oftener one stands
    out by more than 2 where nothing is wrong.

    Args:
        index: the largest anomaly index of a model.
        classes: number of its classes, at least `MIN_CLASSES`.

    Returns:
        The share of draws of normal values, from 0 to 1.
    """
    generator = torch.Generator().manual_seed(0)
    size = (max(1, VALUES // classes), classes)
    values = torch.randn(size, generator=generator, dtype=torch.float64)
    deviations = values - values.quantile(0.5, dim=1, keepdim=True)
    spread = CONSISTENCY * deviations.abs().quantile(0.5, dim=1)
    return float((deviations.amax(1) >= index * spread).double().mean())
