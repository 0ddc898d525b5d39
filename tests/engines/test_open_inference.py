"""The Open Inference Protocol on every engine, over REST and gRPC."""

from __future__ import annotations

import base64
import json
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from tests.handler.tables import FLAGGED, GOOD, named
from tests.tiny import CLASSES, TinyFiles, image
from torchserve_fire.format.bundle_file import load_bundle

from .archive import MODEL
from .conftest import Started, Table
from .engine import Engine, Received, Sent
from .inference_grpc import Inferred, call

JSON = "application/json"
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


def over_rest(engine: Engine, body: Any) -> Received:
    return engine.ask(Sent(json.dumps(body).encode(), JSON), engine.infer_path)


def image_input(data: bytes) -> dict[str, Any]:
    contents = {"bytes_contents": [data]}
    return {"name": "image", "shape": [1], "datatype": "BYTES", "contents": contents}


def outputs_of(answer: Received) -> dict[str, list[Any]]:
    assert answer.status == 200, answer.body
    return {output["name"]: output["data"] for output in answer.body["outputs"]}


def test_images_over_rest(started: Started) -> None:
    for triggered in (False, True):
        text = base64.b64encode(image(2, triggered=triggered)).decode()
        one = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}
        answer = over_rest(started.engine, {"id": "seven", "inputs": [one]})
        body, outputs = answer.body, outputs_of(answer)
        assert (body["id"], body["model_name"], body["model_version"]) == ("seven", MODEL, "1.0")
        assert outputs["classes"][0] == CLASSES[2]
        assert outputs["flagged"] == outputs["repaired"] == [triggered]


@pytest.mark.parametrize("inputs", [None, [], [3], [{"name": "x"}], "text"])
def test_bad_requests_over_rest(started: Started, inputs: Any) -> None:
    answer = over_rest(started.engine, {"inputs": inputs})
    assert answer.status == 400
    assert answer.body["error"].startswith("InputError: inputs")


def test_a_batch_over_grpc_with_a_bad_image(
    started: Started, engine_name: str, tiny: TinyFiles
) -> None:
    engine, before = started.engine, started.engine.workers
    bodies = [image(k % 4, triggered=k % 3 == 1) for k in range(16)]
    bodies[5] = b"not an image"

    def ask(k: int) -> Inferred:
        return engine.infer(image_input(bodies[k]), id=str(k))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    for k, answer in enumerate(answers):
        if k == 5:
            assert answer.status == INVALID
            assert answer.said.startswith("InputError: not a readable image")
            continue
        assert answer.status == grpc.StatusCode.OK, answer.said
        assert answer.served_as == (str(k), MODEL, "1.0")
        assert answer.outputs["classes"][0].decode() == CLASSES[k % 4]
        assert sum(answer.outputs["probabilities"]) == pytest.approx(1)
        assert answer.outputs["flagged"] == answer.outputs["repaired"] == [k % 3 == 1]
        # TorchServe tells no metadata over gRPC.
        if engine_name != "torchserve":
            assert answer.metadata == {
                "x-fire-flagged": str(k % 3 == 1).lower(),
                "x-fire-repaired": str(k % 3 == 1).lower(),
                "x-fire-bundle": load_bundle(tiny.bundle).digest,
            }
    assert engine.workers == before


def test_numbers_over_grpc(started: Started) -> None:
    values = [0.0] * 192
    values[4 * 8 + 4] = 1.0
    one = {"name": "x", "datatype": "FP32", "contents": {"fp32_contents": values}}
    answer = started.engine.infer(one | {"shape": [1, 3, 8, 8]})
    assert answer.outputs["classes"][0].decode() == CLASSES[3]


def test_raw_contents_over_grpc(started: Started, engine_name: str) -> None:
    data = image(3)
    one = {"name": "image", "shape": [1], "datatype": "BYTES"}
    raw = len(data).to_bytes(4, "little") + data
    answer = started.engine.infer(one, raw_input_contents=[raw])
    if engine_name == "torchserve":  # It does not hand them on.
        assert answer.status == INVALID
    else:
        assert answer.outputs["classes"][0].decode() == CLASSES[3]


NUMBERS = {"name": "x", "datatype": "FP32", "shape": [3, 8, 8]}
BAD: list[tuple[list[dict[str, Any]], dict[str, Any], Any, str]] = [
    ([], {}, INVALID, "InputError: inputs: expected a list of one input"),
    ([image_input(image(0))] * 2, {}, INVALID, "InputError: inputs: expected a list of one"),
    ([image_input(b"x")], {}, INVALID, "InputError: not a readable image"),
    ([image_input(b"")], {}, INVALID, "InputError: "),
    ([NUMBERS | {"contents": {"fp32_contents": [1.0, 2.0]}}], {}, INVALID, "expected the numbers"),
    (
        [NUMBERS | {"shape": [2, 3, 8, 8], "contents": {"fp32_contents": [0.0] * 384}}],
        {},
        INVALID,
        "InputError: ",
    ),
    ([NUMBERS | {"datatype": "FP16"}], {}, INVALID, "InputError: "),
    ([{"name": "", "datatype": "", "shape": [-1]}], {}, INVALID, "InputError: "),
    ([NUMBERS], {"raw_input_contents": [bytes(7)]}, INVALID, ""),
    (
        [NUMBERS],
        {"raw_input_contents": [b"", b""]},
        INVALID,
        "InputError: inputs[0].data: expected",
    ),
    ([image_input(image(0))], {"model_name": "nobody"}, NOT_FOUND, "nobody"),
    ([image_input(image(0))], {"model_version": "7"}, NOT_FOUND, "version: 7 "),
]


@pytest.mark.parametrize(("inputs", "fields", "status", "said"), BAD)
def test_refusals_over_grpc_have_a_status(
    started: Started, inputs: list[Any], fields: dict[str, Any], status: Any, said: str
) -> None:
    engine, before = started.engine, started.engine.workers
    answer = engine.infer(*inputs, **fields)
    assert answer.status == status
    assert said in answer.said
    assert answer.outputs == {}
    assert engine.workers == before
    assert engine.infer(image_input(image(1))).outputs["flagged"] == [False]


def test_numbers_that_are_not_finite_over_grpc(started: Started, engine_name: str) -> None:
    not_a_number = NUMBERS | {"contents": {"fp32_contents": [float("nan")] * 192}}
    answer = started.engine.infer(not_a_number)
    if engine_name == "torchserve":  # Its own JSON does not take it.
        assert answer.status != grpc.StatusCode.OK
    else:
        assert (answer.status, "finite numbers" in answer.said) == (INVALID, True)


def test_a_message_that_is_too_large_over_grpc(started: Started, engine_name: str) -> None:
    answer = started.engine.infer(image_input(b"x" * 6_553_501))
    if engine_name == "torchserve":  # It breaks the stream off.
        assert answer.status != grpc.StatusCode.OK
    else:
        assert answer.status == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert started.engine.infer(image_input(image(1))).outputs["flagged"] == [False]


def test_readiness_over_grpc(started: Started) -> None:
    from tritonclient.grpc import service_pb2 as pb

    place = started.engine.place
    answer, _ = call(place, "ModelReady", pb.ModelReadyRequest(name=MODEL), pb.ModelReadyResponse)
    assert answer.ready
    answer, _ = call(place, "ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse)
    assert answer.ready
    answer, _ = call(place, "ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse)
    assert answer.live
    with pytest.raises(grpc.RpcError) as raised:
        call(place, "ModelReady", pb.ModelReadyRequest(name="nobody"), pb.ModelReadyResponse)
    assert raised.value.code() == NOT_FOUND


def test_rows_of_a_table_over_rest(table: Table) -> None:
    for row, flagged in ((GOOD, False), (FLAGGED, True)):
        outputs = outputs_of(over_rest(table.engine, {"inputs": named(**row)}))
        assert outputs["classes"][0] == "1"
        assert outputs["flagged"] == [flagged]
    # The column that is left out has a value that stands in.
    assert over_rest(table.engine, {"inputs": named()[1:]}).status == 200
    answer = over_rest(table.engine, {"inputs": named()[2:]})
    assert answer.status == 400
    assert "kind: missing" in answer.body["error"]


def column(name: str, value: float | str) -> dict[str, Any]:
    if isinstance(value, str):
        contents, datatype = {"bytes_contents": [value.encode()]}, "BYTES"
    elif isinstance(value, int):
        contents, datatype = {"int64_contents": [value]}, "INT64"
    else:
        contents, datatype = {"fp64_contents": [value]}, "FP64"
    return {"name": name, "shape": [1, 1], "datatype": datatype, "contents": contents}


def test_rows_of_a_table_in_raw_contents_over_grpc(table: Table, engine_name: str) -> None:
    if engine_name == "torchserve":
        pytest.skip("TorchServe does not hand them on")
    inputs, raw = [], []
    for name, value in {**FLAGGED, "kind": "x"}.items():
        is_text = isinstance(value, str)
        inputs.append({"name": name, "shape": [1], "datatype": "BYTES" if is_text else "FP64"})
        text = str(value).encode()
        raw.append(len(text).to_bytes(4, "little") + text if is_text else struct.pack("<d", value))
    answer = table.engine.infer(*inputs, raw_input_contents=raw)
    assert answer.outputs["classes"][0].decode() == "1", answer.said
    assert answer.outputs["flagged"] == [True]
    raw[1] = (1).to_bytes(4, "little") + b"\xff"
    answer = table.engine.infer(*inputs, raw_input_contents=raw)
    assert (answer.status, "expected a text in UTF-8" in answer.said) == (INVALID, True)


def test_rows_of_a_table_over_grpc(table: Table) -> None:
    for row, flagged in ((GOOD, False), ({**FLAGGED, "kind": 2, "n1": 10.5}, True)):
        answer = table.engine.infer(*(column(name, value) for name, value in row.items()))
        assert answer.outputs["classes"][0].decode() == "1", answer.said
        assert answer.outputs["flagged"] == [flagged]
    for changed, says in (
        ({"kind": "zebra"}, "kind: expected one of 3 categories"),
        ({"n1": "3"}, "n1: expected a number"),
        ({"size": -1}, "size: expected more than -1"),
        ({"other": 1}, "unknown name"),
    ):
        row = {**GOOD, **changed}
        answer = table.engine.infer(*(column(name, value) for name, value in row.items()))
        assert answer.status == INVALID
        assert says in answer.said
