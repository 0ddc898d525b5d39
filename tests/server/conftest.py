"""What the tests against a real TorchServe share."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks.load.grpc_stubs import load_stubs


@pytest.fixture(scope="session")
def stubs() -> SimpleNamespace:
    return load_stubs()
