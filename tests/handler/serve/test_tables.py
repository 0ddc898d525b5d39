"""Rows of a table in process: prepared as the settings say; each bad one is refused alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.handler.archive import ask, make_archive, softmax
from tests.handler.serve.test_bad_input import check_refusal
from tests.handler.tables import CASES, CSV, DESCRIBED, FLAGGED, GOOD, TABLE, csv_of, named
from torchserve_fire.serve.fire_handler import FireHandler

Served = tuple[FireHandler, Any]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    context = make_archive(tmp_path_factory.mktemp("table"), TABLE, input=DESCRIBED)
    service = FireHandler()
    service.initialize(context)
    return service, context


def one(served: Served, body: Any) -> dict[str, float]:
    ((status, answer),) = ask(*served, [{"body": body}])
    assert status == 200, answer
    return dict(answer)


def is_close(answer: dict[str, float], *logits: float) -> bool:
    expected = dict(zip("012", softmax(*logits), strict=True))
    return answer == pytest.approx(expected)


def test_a_row_in_each_form(served: Served):
    row = {**GOOD, "size": math.e - 1, "kind": 2, "n1": 2.5}
    # log(1 + size) is 1, the one for the kind 1: the sum is 4.5.
    shuffled = dict(reversed(row.items()))
    for body in (
        row,
        shuffled,
        json.dumps(row),
        json.dumps(row).encode(),
        b"\xef\xbb\xbf" + json.dumps(row).encode(),
        csv_of(row),
        csv_of(shuffled).decode(),
        csv_of(row).replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + csv_of(row),
        csv_of({**row, "n1": " +.25E1 "}),
        {**row, "class": "whatever", "id": None},
        csv_of({**row, "class": "", "id": "a"}),
    ):
        assert is_close(one(served, body), 4.5, 6, 0), body


def test_what_is_missing_is_filled_in(served: Served):
    for changed in ({"size": None}, {"size": ""}):
        assert one(served, {**GOOD, **changed}) == one(served, GOOD)
    assert one(served, {k: v for k, v in GOOD.items() if k != "size"}) == one(served, GOOD)


def test_a_flagged_row_is_repaired(served: Served):
    # The sum is 11; taking 9 off leaves 2.
    assert is_close(one(served, FLAGGED), 2, 6, 0)
    _, context = served
    assert context.get_response_headers(0)["x-fire-flagged"] == "true"


def test_named_columns_of_the_open_inference_protocol(served: Served):
    in_bytes = named()
    in_bytes[1]["data"] = [b"x"]
    # TorchServe's gRPC makes base64 of "x", which other servers hand on as it is.
    for inputs in (named(), named(kind="eA=="), in_bytes):
        answer = one(served, {"inputs": inputs})
        outputs = {each["name"]: each["data"] for each in answer["outputs"]}
        assert outputs["classes"][0] == "1"
        assert outputs["flagged"] == [False]
    answer = one(served, {"inputs": named(n1=10.0)})
    assert {each["name"]: each["data"] for each in answer["outputs"]}["flagged"] == [True]


def test_one_tensor_of_the_open_inference_protocol(tmp_path: Path):
    numbers = [{"name": f"n{i}", "mean": 1, "std": 2} for i in range(12)]
    described = {"input": "table", "columns": numbers}
    from torchserve_fire.model.config import parse_config

    taken = parse_config({"handler": described}).describe_input()
    context = make_archive(tmp_path, described, input=taken)
    service = FireHandler()
    service.initialize(context)
    # (2 - 1) / 2 twelve times has the sum 6.
    for shape, data in (([12], [2] * 12), ([1, 12], [2.0] * 12), ([1, 12], [[2] * 12])):
        tensor = {"name": "row", "shape": shape, "datatype": "FP64", "data": data}
        answer = one((service, context), {"inputs": [tensor]})
        assert answer["outputs"][1]["data"] == pytest.approx(sorted(softmax(6, 6, 0))[::-1])
    for changed, says in (
        ({"shape": [11]}, "shape: expected [12]"),
        ({"data": [2] * 11}, "a list of 12 numbers"),
        ({"data": [True] * 12}, "n0: expected a number"),
        ({"datatype": "BYTES"}, "datatype: expected one of"),
    ):
        tensor = {"name": "row", "shape": [12], "datatype": "FP64", "data": [2] * 12} | changed
        ((status, answer),) = ask(service, context, [{"body": {"inputs": [tensor]}}])
        assert status == 400
        assert says in answer["error"]


def test_there_are_many_cases():
    assert len(CASES) >= 90


@pytest.mark.parametrize("name", CASES)
def test_a_bad_row_is_refused_alone(served: Served, name: str):
    service, context = served
    good = [{"body": GOOD}, {"data": csv_of(FLAGGED).decode()}]
    alone = ask(service, context, good)
    case = CASES[name]
    first, (status, answer), last = ask(service, context, [good[0], {"body": case.body}, good[1]])
    assert [first, last] == alone
    check_refusal(status, answer)
    said = answer["error"] if "error" in answer else answer["message"]
    assert case.says in said
    assert "zebra" not in said
    assert "other" not in service.describe_handle()["counts"]["bad_inputs"]


def test_it_says_what_it_takes(served: Served):
    described = served[0].describe_handle()["input"]
    assert described["kind"] == "table"
    assert [column["name"] for column in described["columns"]] == list(GOOD)
    json.dumps(described)


def test_csv_is_text_or_bytes():
    assert isinstance(CASES["csv-word"].body, str)
    assert CASES["csv-word"].content_type == CSV
