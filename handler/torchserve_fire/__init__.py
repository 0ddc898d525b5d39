"""What runs inside a TorchServe worker: bundle, corrections, hooks, and the handler itself.

The folder is packed whole into every archive, under the name `torchserve_fire`; it imports nothing
of this project outside itself, and nothing here but `fire_handler` needs TorchServe.
"""

from .errors import (
    AttachError,
    BundleError,
    ConfigError,
    FireError,
    InputError,
    ModelError,
    RepairError,
    SignatureError,
)
from .format.bundle import Bundle, Correction, Detection, InputDescription, Layer, load_bundle
from .model.config import HandlerConfig, load_config
from .model.load_model import LoadedModel, load_model
from .model.preprocess import read_body
from .repair.attach import RepairHandle, attach
from .repair.verdict import Verdict

__all__ = [
    "AttachError",
    "Bundle",
    "BundleError",
    "ConfigError",
    "Correction",
    "Detection",
    "FireError",
    "HandlerConfig",
    "InputDescription",
    "InputError",
    "Layer",
    "LoadedModel",
    "ModelError",
    "RepairError",
    "RepairHandle",
    "SignatureError",
    "Verdict",
    "attach",
    "load_bundle",
    "load_config",
    "load_model",
    "read_body",
]
