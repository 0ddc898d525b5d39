"""What every engine answers to rows of a table: good and bad ones, and what it keeps of them."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.handler.tables import BYTES, CASES, CSV, FLAGGED, GOOD, JSON, csv_of
from torchserve_fire_build.samples.open_samples import open_samples

from .conftest import Table
from .engine import Received, Sent


def ask_for(table: Table, content: bytes, content_type: str) -> Received:
    return table.engine.ask(Sent(content, content_type))


def test_rows_in_each_form(table: Table) -> None:
    for row, flagged in ((GOOD, "false"), (FLAGGED, "true")):
        record = json.dumps(row).encode()
        answers = [
            ask_for(table, record, JSON),
            ask_for(table, record, BYTES),
            ask_for(table, csv_of(row), CSV),
            ask_for(table, csv_of(row), BYTES),
        ]
        for answer in answers:
            assert answer.status == 200
            assert answer.headers["x-fire-flagged"] == flagged
            assert next(iter(answer.body)) == "1"
            assert answer.body == answers[0].body


def test_bad_rows_are_refused_alone(table: Table, engine_name: str) -> None:
    good = json.dumps(GOOD).encode()
    alone, before = ask_for(table, good, JSON).body, table.engine.workers

    def ask(name: str) -> tuple[Received, Received]:
        case = CASES[name]
        return ask_for(table, case.content, case.content_type), ask_for(table, good, JSON)

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
        assert ask_for(table, json.dumps(row).encode(), JSON).headers["x-fire-flagged"] == "true"
    # They are written beside the answers.
    ask_for(table, json.dumps(GOOD).encode(), JSON)
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
