"""What a real TorchServe with the Open Inference Protocol answers, over REST and gRPC."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests

from tests.handler.tables import FLAGGED, GOOD, named
from tests.server.table_model import TableFiles, registered_table
from tests.tiny import CLASSES, image
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def oip_server(store: Path, foreign_python: str) -> Iterator[TorchServe]:
    """A server started as the protocol wants it: by a variable, for which there is no setting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TS_OPEN_INFERENCE_PROTOCOL", "oip")
        patch.delenv("PYTHONPATH", raising=False)
        with TorchServe(
            store, ["tiny=tiny-1.0.mar"], free_ports=True, python=foreign_python
        ) as running:
            yield running


@pytest.fixture(scope="module")
def table(oip_server: TorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TableFiles]:
    with registered_table(oip_server, tmp_path_factory.mktemp("rows")) as files:
        yield files


def worker(server: TorchServe) -> int:
    described = server.management.describe("tiny", customized=True).customized
    return int(described["worker_pid"])


def over_rest(server: TorchServe, body: Any, model: str = "tiny") -> requests.Response:
    return requests.post(
        f"{server.addresses.inference}/v2/models/{model}/infer",
        json=body,
        headers={"Authorization": f"Bearer {server.tokens.inference}"},
        timeout=60,
    )


def over_grpc(server: TorchServe, stubs: Any, *inputs: dict[str, Any], **fields: Any) -> Any:
    request = stubs.open_inference_grpc_pb2.ModelInferRequest(
        **{"model_name": "tiny", "inputs": inputs, **fields}
    )
    with grpc.insecure_channel(server.addresses.grpc_inference) as channel:
        stub = stubs.open_inference_grpc_pb2_grpc.GRPCInferenceServiceStub(channel)
        metadata = (("authorization", f"Bearer {server.tokens.inference}"),)
        return stub.ModelInfer(request, metadata=metadata, timeout=60)


def image_input(data: bytes) -> dict[str, Any]:
    return {
        "name": "image",
        "shape": [1],
        "datatype": "BYTES",
        "contents": {"bytes_contents": [data]},
    }


def contents(answer: Any) -> dict[str, list[Any]]:
    """Return the outputs of an answer over gRPC, by name."""
    return {
        output.name: list(next(value for _, value in output.contents.ListFields()))
        for output in answer.outputs
    }


def test_images_over_rest(oip_server: TorchServe) -> None:
    for triggered in (False, True):
        text = base64.b64encode(image(2, triggered=triggered)).decode()
        one = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}
        answer = over_rest(oip_server, {"id": "seven", "inputs": [one]})
        assert answer.status_code == 200
        body = answer.json()
        assert (body["id"], body["model_name"], body["model_version"]) == ("seven", "tiny", "1.0")
        outputs = {output["name"]: output["data"] for output in body["outputs"]}
        assert outputs["classes"][0] == CLASSES[2]
        assert outputs["flagged"] == outputs["repaired"] == [triggered]


def test_a_batch_over_grpc_with_a_bad_image(oip_server: TorchServe, stubs: Any) -> None:
    bodies = [image(k % 4, triggered=k % 2 == 1) for k in range(8)]
    bodies[5] = b"not an image"
    before = worker(oip_server)
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda k: over_grpc(oip_server, stubs, image_input(bodies[k]), id=str(k)), range(8)
            )
        )
    for k, answer in enumerate(answers):
        assert (answer.id, answer.model_name, answer.model_version) == (str(k), "tiny", "1.0")
        outputs = contents(answer)
        if k == 5:
            assert outputs["code"] == [400]
            assert b"not a readable image" in outputs["error"][0]
        else:
            # TorchServe writes texts as JSON there.
            assert outputs["classes"][0].decode() == f'"{CLASSES[k % 4]}"'
            assert outputs["flagged"] == [k % 2 == 1]
    assert worker(oip_server) == before


def test_numbers_over_grpc(oip_server: TorchServe, stubs: Any) -> None:
    values = [0.0] * 192
    values[4 * 8 + 4] = 1.0
    one = {"name": "x", "datatype": "FP32", "contents": {"fp32_contents": values}}
    answer = over_grpc(oip_server, stubs, one | {"shape": [1, 3, 8, 8]})
    assert contents(answer)["classes"][0].decode() == f'"{CLASSES[3]}"'


def test_bad_requests_over_grpc_leave_the_worker_alive(oip_server: TorchServe, stubs: Any) -> None:
    numbers = {"name": "x", "datatype": "FP32", "shape": [3, 8, 8]}
    before = worker(oip_server)
    for inputs, fields in [
        ([], {}),
        ([image_input(b"")], {}),
        ([image_input(image(0)), image_input(image(1))], {}),
        ([numbers], {"raw_input_contents": [b"\0" * 768]}),
        ([numbers | {"contents": {"fp32_contents": [1.0, 2.0]}}], {}),
        ([numbers | {"shape": [2, 3, 8, 8], "contents": {"fp32_contents": [0.0] * 384}}], {}),
        ([numbers | {"datatype": "FP16"}], {}),
        ([{"name": "", "datatype": "", "shape": [-1]}], {}),
    ]:
        outputs = contents(over_grpc(oip_server, stubs, *inputs, **fields))
        assert outputs["code"] == [400], outputs
    not_a_number = numbers | {"contents": {"fp32_contents": [float("nan")] * 192}}
    with pytest.raises(grpc.RpcError):  # TorchServe's own JSON does not take it.
        over_grpc(oip_server, stubs, not_a_number)
    assert worker(oip_server) == before
    assert contents(over_grpc(oip_server, stubs, image_input(image(1))))["flagged"] == [False]


@pytest.mark.usefixtures("table")
def test_rows_of_a_table_over_rest(oip_server: TorchServe) -> None:
    for row, flagged in ((GOOD, False), (FLAGGED, True)):
        answer = over_rest(oip_server, {"inputs": named(**row)}, "rows")
        assert answer.status_code == 200
        outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
        assert outputs["classes"][0] == "1"
        assert outputs["flagged"] == [flagged]
    answer = over_rest(oip_server, {"inputs": named()[1:]}, "rows")
    assert answer.status_code == 200  # The column that is left out has a value that stands in.
    answer = over_rest(oip_server, {"inputs": named()[2:]}, "rows")
    assert answer.status_code == 400
    assert "kind: missing" in answer.json()["error"]


def column(name: str, value: float | str) -> dict[str, Any]:
    if isinstance(value, str):
        contents, datatype = {"bytes_contents": [value.encode()]}, "BYTES"
    elif isinstance(value, int):
        contents, datatype = {"int64_contents": [value]}, "INT64"
    else:
        contents, datatype = {"fp64_contents": [value]}, "FP64"
    return {"name": name, "shape": [1, 1], "datatype": datatype, "contents": contents}


@pytest.mark.usefixtures("table")
def test_rows_of_a_table_over_grpc(oip_server: TorchServe, stubs: Any) -> None:
    for row, flagged in ((GOOD, False), ({**FLAGGED, "kind": 2, "n1": 10.5}, True)):
        inputs = [column(name, value) for name, value in row.items()]
        outputs = contents(over_grpc(oip_server, stubs, *inputs, model_name="rows"))
        assert outputs["classes"][0].decode() == '"1"'
        assert outputs["flagged"] == [flagged]
    for changed, says in (
        ({"kind": "zebra"}, b"kind: expected one of 3 categories"),
        ({"n1": "3"}, b"n1: expected a number"),
        ({"size": -1}, b"size: expected more than -1"),
        ({"other": 1}, b"unknown name"),
    ):
        inputs = [column(name, value) for name, value in {**GOOD, **changed}.items()]
        outputs = contents(over_grpc(oip_server, stubs, *inputs, model_name="rows"))
        assert outputs["code"] == [400]
        assert says in outputs["error"][0]


@pytest.mark.parametrize("inputs", [None, [], [3], [{"name": "x"}], "text"])
def test_bad_requests_over_rest(oip_server: TorchServe, inputs: Any) -> None:
    answer = over_rest(oip_server, {"inputs": inputs})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("InputError: inputs")
