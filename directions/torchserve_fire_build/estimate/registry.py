"""The repairs to choose from: each a function of a layer's statistics and a strength."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from torchserve_fire.format.correction_forms import Correction, Shift

from .layer_statistics import LayerStatistics
from .local import local_replacement
from .shifts import ESTIMATORS, Estimator
from .transport import affine_transport

Repair = Callable[[LayerStatistics, float], Correction | None]
"""Gives None where the statistics allow of no such repair."""


def _halved(tensor: Tensor) -> Tensor:
    # Repairs are compared as they are stored: in half precision, where their values allow it.
    return tensor.half() if float(tensor.abs().max()) < torch.finfo(torch.float16).max else tensor


def _shift(estimate: Estimator, statistics: LayerStatistics, strength: float) -> Correction | None:
    direction = _halved(estimate(statistics))
    # Where nothing is significant there is no direction.
    return Shift(direction, strength) if bool(direction.any()) else None


def _local(deviations: float, statistics: LayerStatistics, strength: float) -> Correction | None:
    return local_replacement(statistics, deviations, strength)


def _transport(
    ridge: float, by_place: bool, statistics: LayerStatistics, strength: float
) -> Correction | None:
    correction = affine_transport(statistics, ridge, strength, by_place=by_place)
    if correction is None:
        return None
    return replace(
        correction, direction=_halved(correction.direction), slope=_halved(correction.slope)
    )


SHIFTS: Mapping[str, Repair] = {
    name: partial(_shift, estimate) for name, estimate in ESTIMATORS.items()
}
LOCAL: Mapping[str, Repair] = {
    "local_2": partial(_local, 2.0),
    "local_3": partial(_local, 3.0),
    "local_6": partial(_local, 6.0),
}
TRANSPORTS: Mapping[str, Repair] = {
    "transport": partial(_transport, 0.1, True),
    "transport_loose": partial(_transport, 0.01, True),
    "transport_channel": partial(_transport, 0.01, False),
}
REPAIRS: Mapping[str, Repair] = {**SHIFTS, **LOCAL, **TRANSPORTS}
