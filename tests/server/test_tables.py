"""What a real TorchServe answers to rows of a table: good and bad ones, over REST and gRPC."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.handler.tables import BYTES, CASES, CSV, FLAGGED, GOOD, JSON, csv_of
from tests.server.table_model import NAME, TableFiles, registered_table
from tests.server.test_grpc import predict
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.server.torchserve import TorchServe
from torchserve_fire_build.samples.open_samples import open_samples

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


def worker(server: TorchServe) -> int:
    described: Any = server.management.describe(NAME, customized=True).customized
    return int(described["worker_pid"])


@pytest.mark.usefixtures("files")
def test_rows_in_each_form(server: TorchServe, stubs: Any) -> None:
    for row, flagged in ((GOOD, "false"), (FLAGGED, "true")):
        record = json.dumps(row).encode()
        answers = [
            send(server, record, JSON),
            send(server, record, BYTES),
            send(server, csv_of(row), CSV),
            send(server, csv_of(row), BYTES),
        ]
        for answer in answers:
            assert answer.status_code == 200
            assert answer.headers["x-fire-flagged"] == flagged
            assert next(iter(answer.json())) == "1"
            assert answer.json() == answers[0].json()
        for body in (record, csv_of(row)):
            over_grpc = predict(server, stubs, NAME, body, server.tokens.inference)
            assert over_grpc == pytest.approx(answers[0].json())


@pytest.mark.usefixtures("files")
def test_bad_rows_are_refused_alone(server: TorchServe) -> None:
    good = json.dumps(GOOD).encode()
    alone, before = send(server, good, JSON).json(), worker(server)

    def ask(name: str) -> tuple[requests.Response, requests.Response]:
        case = CASES[name]
        return send(server, case.content, case.content_type), send(server, good, JSON)

    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(CASES, pool.map(ask, CASES), strict=True))
    for name, (answer, beside) in answers.items():
        assert answer.status_code == 400, name
        body = answer.json()
        said = body["error"] if "error" in body else body["message"]
        assert CASES[name].says in said, name
        assert (beside.status_code, beside.json()) == (200, alone), name
    assert worker(server) == before


def test_flagged_rows_are_kept_as_what_build_reads(server: TorchServe, files: TableFiles) -> None:
    sent = [{**FLAGGED, "n1": 20, "kind": "y", "id": "a", "class": 1}, {**FLAGGED, "n1": 2e6}]
    for row in sent:
        assert send(server, json.dumps(row).encode(), JSON).headers["x-fire-flagged"] == "true"
    # They are written beside the answers.
    send(server, json.dumps(GOOD).encode(), JSON)
    rows = []
    for file in files.kept.iterdir():
        with file.open(newline="") as stream:
            rows += list(csv.DictReader(stream))
    kept = {(row["n1"], row["kind"]) for row in rows}
    assert {("20.0", "y"), ("2000000.0", "x")} <= kept
    assert all(list(row) == list(GOOD) for row in rows)
    samples = open_samples(files.kept, files.config)
    assert len(samples) == len(rows)
    sums = samples.load(range(len(samples))).sum(1).tolist()
    assert sorted(sums) == pytest.approx(sorted(float(row["n1"]) + 1 for row in rows))


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
