"""The engines, by their names."""

from __future__ import annotations

from .engine import Engine
from .kserve_engine import KServeEngine
from .ray_engine import RayEngine
from .torchserve_engine import TorchServeEngine

ENGINES: dict[str, type[Engine]] = {
    "kserve": KServeEngine,
    "ray": RayEngine,
    "torchserve": TorchServeEngine,
}
