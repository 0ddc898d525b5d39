"""The repairs to choose from, by name; each is a function of a layer's statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torchserve_fire.format.correction_forms import Correction, Shift

from ..common.registry import Registry
from .channels import halved
from .layer_statistics import LayerStatistics
from .local import local_replacement
from .shifts import ESTIMATORS, Estimator
from .transport import affine_transport

Repair = Callable[[LayerStatistics], Correction | None]
"""Returns a correction of strength 1, or None if the statistics allow no such repair."""


def _shift(estimate: Estimator, statistics: LayerStatistics) -> Shift | None:
    # Repairs are compared in the precision in which they are stored, half precision.
    direction = halved(estimate(statistics))
    # If nothing is significant, there is no direction.
    return Shift(direction, 1.0) if bool(direction.any()) else None


SHIFTS: Mapping[str, Repair] = {
    name: partial(_shift, estimate) for name, estimate in ESTIMATORS.items()
}
LOCAL: Mapping[str, Repair] = {
    "local_2": partial(local_replacement, deviations=2.0),
    "local_3": partial(local_replacement, deviations=3.0),
    "local_6": partial(local_replacement, deviations=6.0),
}
TRANSPORTS: Mapping[str, Repair] = {
    "transport": partial(affine_transport, ridge=0.1, by_place=True),
    "transport_loose": partial(affine_transport, ridge=0.01, by_place=True),
    "transport_channel": partial(affine_transport, ridge=0.01, by_place=False),
}
REPAIRS: Registry[Repair] = Registry(
    "torchserve_fire.repairs", {**SHIFTS, **LOCAL, **TRANSPORTS}, returns=Correction | None
)
