"""Rows of a table on TorchServe in its own ways: its protocol for gRPC, and the command `swap`.

What every server answers to rows is asked in tests/engines/test_tables.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.handler.tables import CSV, FLAGGED, GOOD, JSON, csv_of
from tests.server.table_model import NAME, TableFiles, registered_table
from tests.server.test_grpc import predict
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def files(server: TorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TableFiles]:
    with registered_table(server, tmp_path_factory.mktemp("rows")) as files:
        yield files


def send(server: TorchServe, content: bytes, content_type: str) -> requests.Response:
    return requests.post(
        f"{server.addresses.inference}/predictions/{NAME}",
        data=content,
        headers={
            "Authorization": f"Bearer {server.tokens.inference}",
            "Content-Type": content_type,
        },
        timeout=120,
    )


@pytest.mark.usefixtures("files")
def test_rows_over_grpc(server: TorchServe, stubs: Any) -> None:
    for row in (GOOD, FLAGGED):
        record = json.dumps(row).encode()
        over_rest = send(server, record, JSON).json()
        for body in (record, csv_of(row)):
            over_grpc = predict(server, stubs, NAME, body, server.tokens.inference)
            assert over_grpc == pytest.approx(over_rest)


@pytest.mark.slow
def test_a_swap_tries_rows_of_its_own(server: TorchServe, files: TableFiles) -> None:
    words = ["swap", "--management", server.addresses.management]
    words += ["--inference", server.addresses.inference, "--key-file", str(server.key_file)]
    words += ["--model-store", str(server.model_store)]
    weaker = files.bundle(0.25)
    assert main([*words, "--model-name", NAME, "--bundle", str(weaker)]) == 0
    answer = send(server, csv_of(FLAGGED), CSV)
    assert answer.headers["x-fire-bundle"] == load_bundle(weaker).digest
    # The sum is 11, less a quarter of 9.
    assert next(iter(answer.json())) == "0"
