"""What every engine answers to rows of a table: good and bad ones, and what it keeps of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.handler.tables import BYTES, CASES, CSV, FLAGGED, GOOD, JSON, csv_of
from tests.server.table_model import NAME, TableFiles
from torchserve_fire_build.samples.open_samples import open_samples

from .conftest import Serving
from .engine import Engine, Received, Sent


@dataclass(frozen=True)
class Table:
    """A server of the model of rows.

    Attributes:
        engine: the server.
        files: the model's.
    """

    engine: Engine
    files: TableFiles

    def ask(self, content: bytes, content_type: str) -> Received:
        return self.engine.ask(Sent(content, content_type))


@pytest.fixture(scope="module")
def table(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    folder = tmp_path_factory.mktemp("rows")
    files = TableFiles(folder)
    with serving(files.packed(folder), NAME, folder) as engine:
        yield Table(engine, files)


def test_rows_in_each_form(table: Table) -> None:
    for row, flagged in ((GOOD, "false"), (FLAGGED, "true")):
        record = json.dumps(row).encode()
        answers = [
            table.ask(record, JSON),
            table.ask(record, BYTES),
            table.ask(csv_of(row), CSV),
            table.ask(csv_of(row), BYTES),
        ]
        for answer in answers:
            assert answer.status == 200
            assert answer.headers["x-fire-flagged"] == flagged
            assert next(iter(answer.body)) == "1"
            assert answer.body == answers[0].body


def test_bad_rows_are_refused_alone(table: Table, engine_name: str) -> None:
    good = json.dumps(GOOD).encode()
    alone, before = table.ask(good, JSON).body, table.engine.workers

    def ask(name: str) -> tuple[Received, Received]:
        case = CASES[name]
        return table.ask(case.content, case.content_type), table.ask(good, JSON)

    # KServe's own form of several samples.
    names = [name for name in CASES if name != "json-instances" or engine_name != "kserve"]
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(names, pool.map(ask, names), strict=True))
    for name, (answer, beside) in answers.items():
        assert answer.status == 400, name
        said = answer.body["error"] if "error" in answer.body else answer.body["message"]
        assert CASES[name].says in said, name
        assert (beside.status, beside.body) == (200, alone), name
    assert table.engine.workers == before


def test_flagged_rows_are_kept_as_what_build_reads(table: Table) -> None:
    sent = [{**FLAGGED, "n1": 20, "kind": "y", "id": "a", "class": 1}, {**FLAGGED, "n1": 2e6}]
    for row in sent:
        assert table.ask(json.dumps(row).encode(), JSON).headers["x-fire-flagged"] == "true"
    # They are written beside the answers.
    table.ask(json.dumps(GOOD).encode(), JSON)
    rows = []
    for file in table.files.kept.iterdir():
        with file.open(newline="") as stream:
            rows += list(csv.DictReader(stream))
    kept = {(row["n1"], row["kind"]) for row in rows}
    assert {("20.0", "y"), ("2000000.0", "x")} <= kept
    assert all(list(row) == list(GOOD) for row in rows)
    samples = open_samples(table.files.kept, table.files.config)
    assert len(samples) == len(rows)
    sums = samples.load(range(len(samples))).sum(1).tolist()
    assert sorted(sums) == pytest.approx(sorted(float(row["n1"]) + 1 for row in rows))
