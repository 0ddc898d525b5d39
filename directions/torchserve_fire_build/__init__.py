"""What runs beforehand: from samples and a model to a direction bundle, and to a server.

Each name is imported when it is first asked for, so that the command line can speak before PyTorch
is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .building.from_clean import build_from_clean
    from .building.from_pool import build_from_pool
    from .building.from_quarantine import refine_bundle
    from .building.from_samples import build_bundle
    from .inspection.inspect_model import inspect_model
    from .measure.evaluate import evaluate_bundle
    from .samples.open_samples import open_samples
    from .samples.tensor_samples import TensorSamples

__all__ = [
    "TensorSamples",
    "build_bundle",
    "build_from_clean",
    "build_from_pool",
    "evaluate_bundle",
    "inspect_model",
    "open_samples",
    "refine_bundle",
]

_HOMES = {
    "TensorSamples": ".samples.tensor_samples",
    "build_bundle": ".building.from_samples",
    "build_from_clean": ".building.from_clean",
    "build_from_pool": ".building.from_pool",
    "evaluate_bundle": ".measure.evaluate",
    "inspect_model": ".inspection.inspect_model",
    "open_samples": ".samples.open_samples",
    "refine_bundle": ".building.from_quarantine",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
