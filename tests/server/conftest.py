"""What the tests against a real TorchServe share: gRPC stubs, made from its own protocol files."""

from __future__ import annotations

import importlib
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import ts
from grpc_tools import protoc


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("stubs")
    sources = ["inference.proto", "management.proto", "google/rpc/status.proto"]
    with zipfile.ZipFile(Path(ts.__file__).parent / "frontend" / "model-server.jar") as jar:
        for source in sources:
            jar.extract(source, folder)
    common = Path(protoc.__file__).parent / "_proto"
    options = [
        f"-I{folder}",
        f"-I{common}",
        f"--python_out={folder}",
        f"--grpc_python_out={folder}",
    ]
    assert protoc.main(["protoc", *options, *sources]) == 0
    sys.path.insert(0, str(folder))
    try:
        names = ("inference_pb2", "inference_pb2_grpc", "management_pb2", "management_pb2_grpc")
        return SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(folder))
