"""The engines, by the names that `serve --engine` has for them."""

from __future__ import annotations

from .engine import Engine
from .kserve_engine import KServeEngine
from .torchserve_engine import TorchServeEngine

ENGINES: dict[str, type[Engine]] = {"kserve": KServeEngine, "torchserve": TorchServeEngine}
