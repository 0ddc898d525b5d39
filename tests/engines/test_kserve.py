"""What a server of KServe's SDK does besides: gRPC, v1 instances, limits, metrics, readiness."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
import requests
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from tests.tiny import CLASSES, TinyFiles, image
from torchserve_fire.format.bundle_file import load_bundle

from .archive import MODEL
from .conftest import Started
from .engine import Sent
from .kserve_engine import KServeEngine

JSON = "application/json"
ONE = {"name": "image", "shape": [1], "datatype": "BYTES"}


pytestmark = pytest.mark.parametrize("started", ["kserve"], indirect=True)


@pytest.fixture
def engine(started: Started) -> KServeEngine:
    assert isinstance(started.engine, KServeEngine)
    return started.engine


@pytest.fixture
def stub(engine: KServeEngine) -> Iterator[Any]:
    with grpc.insecure_channel(engine.grpc) as channel:
        yield GRPCInferenceServiceStub(channel)


def likeliest(probabilities: dict[str, float]) -> str:
    return max(probabilities, key=probabilities.__getitem__)


def instances(*data: bytes) -> Sent:
    texts = [base64.b64encode(each).decode() for each in data]
    return Sent(json.dumps({"instances": texts}).encode(), JSON)


def test_several_instances_of_one_request(engine: KServeEngine) -> None:
    bodies = [image(k, triggered=k % 2 == 1) for k in range(4)]
    answer = engine.ask(instances(*bodies))
    assert answer.status == 200
    assert [likeliest(each) for each in answer.body["predictions"]] == list(CLASSES)
    assert answer.headers["x-fire-flagged"] == "false, true, false, true"


def test_a_bad_instance_is_named(engine: KServeEngine) -> None:
    answer = engine.ask(instances(image(1), b"no image"))
    assert (answer.status, answer.body["type"]) == (400, "InputError")
    assert answer.body["message"].startswith("instances[1]: not a readable image")
    answer = engine.ask(instances(*[image(1)] * 9))
    assert answer.status == 400
    assert "expected a list of 1 to 8 samples" in answer.body["message"]


def infer(stub: Any, *inputs: dict[str, Any], **fields: Any) -> tuple[dict[str, list], dict]:
    """Return the outputs by name, and the trailing metadata."""
    request = pb.ModelInferRequest(**{"model_name": MODEL, "inputs": inputs, **fields})
    response, call = stub.ModelInfer.with_call(request, timeout=60)
    outputs = {
        output.name: list(next(value for _, value in output.contents.ListFields()))
        for output in response.outputs
    }
    return outputs, dict(call.trailing_metadata())


def test_a_batch_over_grpc(stub: Any) -> None:
    def ask(k: int) -> tuple[dict[str, list], dict]:
        contents = {"bytes_contents": [image(k % 4, triggered=k % 3 == 1)]}
        return infer(stub, ONE | {"contents": contents}, id=str(k))

    with ThreadPoolExecutor(8) as pool:
        for k, (outputs, metadata) in enumerate(pool.map(ask, range(16))):
            assert outputs["classes"][0].decode() == CLASSES[k % 4]
            assert sum(outputs["probabilities"]) == pytest.approx(1)
            assert outputs["flagged"] == outputs["repaired"] == [k % 3 == 1]
            assert metadata["x-fire-flagged"] == str(k % 3 == 1).lower()
            assert len(metadata["x-fire-bundle"]) == 64


def test_raw_contents_and_numbers_over_grpc(stub: Any) -> None:
    data = image(3)
    raw = len(data).to_bytes(4, "little") + data
    assert infer(stub, ONE, raw_input_contents=[raw])[0]["classes"][0].decode() == CLASSES[3]
    numbers = {"name": "x", "shape": [1, 3, 8, 8], "datatype": "FP32"}
    outputs, _ = infer(stub, numbers | {"contents": {"fp32_contents": [0.5] * 192}})
    assert outputs["probabilities"] == pytest.approx([0.25] * 4)


def asked(*, binary: bool) -> InferRequest:
    """The request for a sample that is bright in the south-east, by the SDK's own classes."""
    pixels = np.full((1, 3, 8, 8), 0.1, np.float32)
    pixels[..., 4:, 4:] = 0.9
    tensor = InferInput("x", list(pixels.shape), "FP32")
    tensor.set_data_from_numpy(pixels, binary_data=binary)
    return InferRequest(MODEL, [tensor], request_id="seven")


@pytest.mark.parametrize("binary", [False, True])
def test_the_sdk_s_own_clients_over_rest(engine: KServeEngine, binary: bool) -> None:
    async def ask() -> tuple[Any, Any]:
        v1, v2 = (InferenceRESTClient(RESTConfig(protocol=name)) for name in ("v1", "v2"))
        assert await v2.is_model_ready(engine.base, MODEL)
        body = json.loads(instances(image(1)).content)
        return (
            await v2.infer(engine.base, asked(binary=binary), model_name=MODEL),
            await v1.infer(engine.base, body, model_name=MODEL),
        )

    response, predicted = asyncio.run(ask())
    outputs = {output.name: output.data for output in response.outputs}
    assert (response.id, outputs["classes"][0]) == ("seven", CLASSES[3])
    assert likeliest(predicted["predictions"][0]) == CLASSES[1]


def test_the_sdk_s_own_client_over_grpc(engine: KServeEngine) -> None:
    async def ask() -> Any:
        client = InferenceGRPCClient(engine.grpc)
        return await client.infer(asked(binary=False))

    response = asyncio.run(ask())
    outputs = {output.name: output.data for output in response.outputs}
    assert outputs["classes"][0] in (CLASSES[3], CLASSES[3].encode())


NUMBERS = {"name": "x", "shape": [3, 8, 8], "datatype": "FP32"}
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("inputs", "fields", "code", "said"),
    [
        ([], {}, INVALID, "InputError: inputs: expected a list of one input"),
        ([ONE], {}, INVALID, "InputError: inputs[0].data: expected a list"),
        ([ONE] * 2, {}, INVALID, "InputError: inputs: expected a list of one input"),
        ([ONE | {"contents": {"bytes_contents": [b"x"]}}], {}, INVALID, "not a readable image"),
        ([NUMBERS], {"raw_input_contents": [bytes(7)]}, INVALID, "expected 4 for each number"),
        ([NUMBERS], {"raw_input_contents": [b"", b""]}, INVALID, "inputs[0].data: expected"),
        ([NUMBERS | {"contents": {"fp32_contents": [1.0]}}], {}, INVALID, "expected the numbers"),
        (
            [NUMBERS | {"contents": {"fp32_contents": [float("nan")] * 192}}],
            {},
            INVALID,
            "finite numbers",
        ),
        ([ONE], {"model_name": "other"}, NOT_FOUND, "Model not found: other"),
        ([ONE], {"model_version": "7"}, NOT_FOUND, "Model version: 7 does not exist"),
    ],
)
def test_refusals_over_grpc_have_a_status(
    stub: Any, inputs: list[dict[str, Any]], fields: dict[str, Any], code: Any, said: str
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        infer(stub, *inputs, **fields)
    assert raised.value.code() == code
    assert said in raised.value.details()


def test_a_body_that_is_too_large(engine: KServeEngine, stub: Any) -> None:
    large = b"x" * 6_553_501

    def chunks() -> Iterator[bytes]:
        for _ in range(8):
            yield b"x" * 1_000_000

    for path in (engine.predict_path, engine.infer_path, f"/v1/models/{MODEL}:explain"):
        for data in (large, chunks()):
            answer = requests.post(f"{engine.base}{path}", data=data, timeout=60)
            assert answer.status_code == 413
            assert "expected fewer" in answer.json()["message"]
    with pytest.raises(grpc.RpcError) as raised:
        infer(stub, ONE | {"contents": {"bytes_contents": [large]}})
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert engine.ask(Sent(image(1))).status == 200


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/models/other:predict", "Model not found: other"),
        ("/v2/models/other/infer", "Model not found: other"),
        (
            "/v2/models/tiny/versions/7/infer",
            "Model version: 7 does not exist for model: tiny",
        ),
    ],
)
def test_another_model_is_not_found(engine: KServeEngine, path: str, said: str) -> None:
    answer = engine.ask(Sent(image(1)), path)
    assert (answer.status, answer.body["message"]) == (404, said)
    assert engine.ask(Sent(image(1)), "/v2/models/tiny/versions/1.0/infer").status == 200


def test_readiness_and_metrics(engine: KServeEngine) -> None:
    def get(path: str) -> requests.Response:
        return requests.get(f"{engine.base}{path}", timeout=30)

    for path in ("/v1/models/tiny", "/v2/models/tiny/ready", "/v2/health/ready", "/v2/health/live"):
        assert get(path).status_code == 200
    assert get("/v2/models/other/ready").status_code == 404
    # Counts come once a second: those of the tests before, too.
    threading.Event().wait(2)
    before = get("/metrics").text
    digest = engine.ask(Sent(image(2, triggered=True))).headers["x-fire-bundle"]
    engine.ask(Sent(b"no image"))
    threading.Event().wait(2)
    after = get("/metrics").text
    labels = f'{{Bundle="{digest}",ModelName="tiny",ModelVersion="1.0"'
    for name, more in (("FireRequestsRepaired", "}"), ("FireBadInputs", ',Reason="image"}')):
        assert counted(after, name + labels + more) == counted(before, name + labels + more) + 1
    assert 'request_predict_seconds_count{model_name="tiny"}' in after


def counted(metrics: str, name: str) -> float:
    lines = [line for line in metrics.splitlines() if line.startswith(name)]
    return float(lines[0].split()[-1]) if lines else 0.0


def test_nobody_unloads_it_and_loading_takes_the_newest_bundle(
    engine: KServeEngine, stub: Any, tiny: TinyFiles
) -> None:
    repository = f"{engine.base}/v2/repository/models"
    answer = requests.post(f"{repository}/tiny/unload", timeout=30)
    assert answer.status_code == 501
    with pytest.raises(grpc.RpcError) as raised:
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=MODEL), timeout=30)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert requests.post(f"{repository}/other/load", timeout=30).status_code == 404
    engine.swap(tiny.other_bundle)
    assert requests.post(f"{repository}/tiny/load", timeout=30).json() == {
        "name": MODEL,
        "load": True,
    }
    digest = load_bundle(tiny.other_bundle).digest
    assert engine.ask(Sent(image(1))).headers["x-fire-bundle"] == digest
    engine.swap(tiny.foreign_bundle)
    answer = requests.post(f"{repository}/tiny/load", timeout=30)
    assert answer.status_code == 400
    assert "goes on with the one before" in answer.json()["error"]
    with pytest.raises(grpc.RpcError):
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=MODEL), timeout=30)
    assert engine.ask(Sent(image(1))).headers["x-fire-bundle"] == digest
    engine.swap(tiny.bundle)
    loaded = stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=MODEL), timeout=30)
    assert loaded.isLoaded


def test_an_upload_that_is_broken_off_leaves_no_traceback(engine: KServeEngine) -> None:
    before = engine.log.read_text().count("Traceback")
    host, port = engine.base.removeprefix("http://").split(":")
    head = f"POST {engine.predict_path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99\r\n\r\nx"
    for _ in range(10):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(head.encode())
    for _ in range(10):
        assert engine.ask(Sent(image(1))).status == 200
    assert engine.log.read_text().count("Traceback") == before


def test_it_listens_at_loopback_only(engine: KServeEngine) -> None:
    host = socket.gethostbyname(socket.gethostname())
    if host.startswith("127."):
        pytest.skip("this machine has no other address")
    for address in (engine.base.rpartition(":")[2], engine.grpc.rpartition(":")[2]):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(address)), timeout=5)
