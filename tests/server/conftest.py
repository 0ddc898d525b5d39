"""What the tests against a real TorchServe share."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.load.grpc_stubs import load_stubs
from directions.deployment import swap
from directions.deployment.load_as_worker import Answer, Body, load_as_worker
from handler.bundle import BUNDLE_FILE
from handler.digest import file_sha256


@pytest.fixture(scope="session")
def stubs() -> SimpleNamespace:
    return load_stubs()


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
