"""What the tests against a real TorchServe share."""

from __future__ import annotations

import importlib
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import ts
from grpc_tools import protoc

from directions.deployment import swap
from directions.deployment.load_as_worker import Answer, Body, load_as_worker
from handler.bundle import BUNDLE_FILE
from handler.load_model import file_sha256


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The modules of TorchServe's gRPC services, made from its own protocol files."""
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


@pytest.fixture
def each_bundle_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an archive answers here is worked out once per bundle, not at each of many swaps."""
    known: dict[str, list[Answer]] = {}

    def load(folder: Path, name: str, bodies: list[Body]) -> list[Answer]:
        digest = file_sha256(folder / BUNDLE_FILE)
        if digest not in known:
            known[digest] = load_as_worker(folder, name, bodies)
        return known[digest]

    monkeypatch.setattr(swap, "load_as_worker", load)
