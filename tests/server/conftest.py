"""What the tests against a real TorchServe share."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.load.grpc_stubs import load_stubs
from torchserve_fire.format.bundle_file import BUNDLE_FILE
from torchserve_fire.format.digest import file_sha256
from torchserve_fire_build.deployment.archive.load_as_worker import Answer, Body, load_as_worker
from torchserve_fire_build.deployment.client import swap


@pytest.fixture(scope="session")
def stubs() -> SimpleNamespace:
    return load_stubs()


@pytest.fixture
def each_bundle_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an archive answers here is worked out once per bundle, not at each of many swaps."""
    known: dict[str, list[Answer]] = {}

    def load(folder: Path, name: str, bodies: list[Body], **device: object) -> list[Answer]:
        digest = file_sha256(folder / BUNDLE_FILE)
        if digest not in known:
            known[digest] = load_as_worker(folder, name, bodies)
        return known[digest]

    monkeypatch.setattr(swap, "load_as_worker", load)
