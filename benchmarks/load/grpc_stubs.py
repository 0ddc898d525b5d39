"""TorchServe's gRPC stubs, made from the protocol files that it carries in its own jar."""

from __future__ import annotations

import functools
import importlib
import sys
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import ts
from grpc_tools import protoc

from torchserve_fire.errors import FireError

SERVICES = ("inference", "management", "open_inference_grpc")
PROTOCOLS = (*(f"{service}.proto" for service in SERVICES), "google/rpc/status.proto")
MODULES = [f"{service}_{kind}" for service in SERVICES for kind in ("pb2", "pb2_grpc")]


@functools.cache
def load_stubs() -> SimpleNamespace:
    """Return the modules that grpcio-tools makes, each under its own name.

    Raises:
        FireError: the protocol files cannot be compiled.
    """
    with tempfile.TemporaryDirectory(prefix="fire-stubs-") as folder:
        with zipfile.ZipFile(Path(ts.__file__).parent / "frontend" / "model-server.jar") as jar:
            for protocol in PROTOCOLS:
                jar.extract(protocol, folder)
        common = Path(protoc.__file__).parent / "_proto"
        options = [f"-I{folder}", f"-I{common}"]
        options += [f"--python_out={folder}", f"--grpc_python_out={folder}"]
        if protoc.main(["protoc", *options, *PROTOCOLS]) != 0:
            raise FireError("TorchServe's protocol files cannot be compiled")
        # The modules import each other by their plain names.
        sys.path.insert(0, folder)
        try:
            return SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
        finally:
            sys.path.remove(folder)
