"""The repairs to choose from: each a function of a layer's statistics and a strength."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch

from handler.bundle import Repairing

from .estimators import ESTIMATORS, Estimator
from .local_replacement import local_replacement
from .statistics import LayerStatistics

Repair = Callable[[LayerStatistics, float], Repairing | None]
"""Gives None where the statistics allow of no such repair."""


def _shift(estimate: Estimator, statistics: LayerStatistics, strength: float) -> Repairing | None:
    direction = estimate(statistics)
    # A direction is compared as it is stored: in half precision, where its values allow it.
    if float(direction.abs().max()) < torch.finfo(torch.float16).max:
        direction = direction.half()
    # Where nothing is significant there is no direction.
    return Repairing("shift", direction, strength) if bool(direction.any()) else None


def _local(deviations: float, statistics: LayerStatistics, strength: float) -> Repairing | None:
    return local_replacement(statistics, deviations, strength)


SHIFTS: Mapping[str, Repair] = {
    name: partial(_shift, estimate) for name, estimate in ESTIMATORS.items()
}
LOCAL: Mapping[str, Repair] = {
    "local_2": partial(_local, 2.0),
    "local_3": partial(_local, 3.0),
    "local_6": partial(_local, 6.0),
}
REPAIRS: Mapping[str, Repair] = {**SHIFTS, **LOCAL}
