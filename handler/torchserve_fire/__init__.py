"""Inference-time repair of backdoored classifiers: what runs where a model is served.

The folder is packed whole into every archive. It imports nothing of this project outside itself,
and only the adapter `serve` knows TorchServe. Each name is imported when it is first
asked for, so `import torchserve_fire` loads no PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.open_model import open_model
    from .errors import FireError
    from .format.bundle import Bundle
    from .format.bundle_file import load_bundle, save_bundle
    from .repair.attach import attach
    from .repair.verdict import Verdict
    from .serve.repair_mixin import RepairMixin

__all__ = [
    "Bundle",
    "FireError",
    "RepairMixin",
    "Verdict",
    "attach",
    "load_bundle",
    "open_model",
    "save_bundle",
]

_HOMES = {
    "Bundle": ".format.bundle",
    "FireError": ".errors",
    "RepairMixin": ".serve.repair_mixin",
    "Verdict": ".repair.verdict",
    "attach": ".repair.attach",
    "load_bundle": ".format.bundle_file",
    "open_model": ".core.open_model",
    "save_bundle": ".format.bundle_file",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
