"""What a server of KServe's SDK does besides: v1 instances, its own clients, loading.

A process of its own: the SDK's messages for gRPC cannot be loaded beside those of another library.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
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

pytestmark = pytest.mark.parametrize("engine_name", ["kserve"], indirect=True)


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


def test_the_sdk_s_own_paths_and_metrics(engine: KServeEngine) -> None:
    assert requests.get(f"{engine.base}/v1/models/small", timeout=30).status_code == 200
    assert engine.ask(Sent(image(1))).status == 200
    assert 'request_predict_seconds_count{model_name="small"}' in engine.metrics()


def test_a_body_that_is_too_large_for_a_path_of_the_sdk_s_own(engine: KServeEngine) -> None:
    path = f"{engine.base}/v1/models/{MODEL}:explain"
    answer = requests.post(path, data=b"x" * 6_553_501, timeout=60)
    assert answer.status_code == 413
    assert "expected fewer" in answer.json()["message"]


def test_nobody_unloads_it_and_loading_takes_the_newest_bundle(
    engine: KServeEngine, stub: Any, tiny: TinyFiles
) -> None:
    repository = f"{engine.base}/v2/repository/models"
    answer = requests.post(f"{repository}/small/unload", timeout=30)
    assert answer.status_code == 501
    with pytest.raises(grpc.RpcError) as raised:
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=MODEL), timeout=30)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert requests.post(f"{repository}/other/load", timeout=30).status_code == 404
    engine.swap(tiny.other_bundle)
    assert requests.post(f"{repository}/small/load", timeout=30).json() == {
        "name": MODEL,
        "load": True,
    }
    digest = load_bundle(tiny.other_bundle).digest
    assert engine.ask(Sent(image(1))).headers["x-fire-bundle"] == digest
    engine.swap(tiny.foreign_bundle)
    answer = requests.post(f"{repository}/small/load", timeout=30)
    assert answer.status_code == 400
    assert "goes on with the one before" in answer.json()["error"]
    with pytest.raises(grpc.RpcError):
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=MODEL), timeout=30)
    assert engine.ask(Sent(image(1))).headers["x-fire-bundle"] == digest
    engine.swap(tiny.bundle)
    loaded = stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=MODEL), timeout=30)
    assert loaded.isLoaded
