"""What a real TorchServe answers over gRPC; the stubs come from its own protocol files.

Of TorchServe alone, whose protocol this is; the Open Inference Protocol, which every engine speaks,
is asked in tests/engines/test_open_inference.py.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from tests.handler import damaged_images
from tests.tiny import CLASSES, TinyFiles, image
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server


def predict(
    server: TorchServe, stubs: Any, model: str, body: bytes, token: str | None
) -> dict[str, Any]:
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(server.addresses.grpc_inference) as channel:
        stub = stubs.inference_pb2_grpc.InferenceAPIsServiceStub(channel)
        request = stubs.inference_pb2.PredictionsRequest(model_name=model, input={"data": body})
        answer = stub.Predictions(request, metadata=metadata, timeout=60)
    decoded: dict[str, Any] = json.loads(answer.prediction)
    return decoded


def top(answer: dict[str, float]) -> str:
    return max(answer, key=answer.__getitem__)


def test_answers_before_and_after_repair(server: TorchServe, stubs: Any) -> None:
    token = server.tokens.inference
    for quadrant in range(4):
        clean, triggered = image(quadrant), image(quadrant, triggered=True)
        assert top(predict(server, stubs, "plain", clean, token)) == CLASSES[quadrant]
        assert top(predict(server, stubs, "plain", triggered, token)) == CLASSES[0]
        assert top(predict(server, stubs, "tiny", clean, token)) == CLASSES[quadrant]
        assert top(predict(server, stubs, "tiny", triggered, token)) == CLASSES[quadrant]


def test_the_body_tells_a_bad_image_in_a_batch(server: TorchServe, stubs: Any) -> None:
    bodies = [image(k % 4, triggered=True) for k in range(8)]
    bodies[5] = b"not an image"
    token = server.tokens.inference
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda b: predict(server, stubs, "tiny", b, token), bodies))
    # TorchServe drops the status over gRPC.
    assert answers[5]["code"] == 400
    assert answers[5]["type"] == "InputError"
    for k, answer in enumerate(answers):
        if k != 5:
            assert top(answer) == CLASSES[k % 4]


BAD_BODIES = {
    "empty": b"",
    "text": b"hello\nworld",
    "not-utf-8": b"\xff\xfe",
    "json-cut": b'{"data": [[',
    "json-deep": b"[" * 100_000,
    "json-nan": b"[NaN]",
    "json-surrogate": b'{"data": "\\ud800"}',
    "json-long-number": b"[" + b"9" * 5000 + b"]",
    "image-cut": image(0)[:-30],
    **damaged_images.bombs(),
}


def test_bad_bodies_are_refused_alone_and_the_worker_lives(server: TorchServe, stubs: Any) -> None:
    token, before = server.tokens.inference, server.management.describe("tiny").workers
    expected = predict(server, stubs, "tiny", image(1), token)
    # Every other one is good, and may share its batch with bad ones.
    bodies = [body for bad in BAD_BODIES.values() for body in (bad, image(1))]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda b: predict(server, stubs, "tiny", b, token), bodies))
    assert answers[1::2] == [expected] * len(BAD_BODIES)
    for name, answer in zip(BAD_BODIES, answers[::2], strict=True):
        assert answer["code"] in (400, 413), name
        assert answer["message"].isprintable()
    assert server.management.describe("tiny").workers == before


def test_describe(server: TorchServe, stubs: Any, tiny: TinyFiles) -> None:
    with grpc.insecure_channel(server.addresses.grpc_management) as channel:
        stub = stubs.management_pb2_grpc.ManagementAPIsServiceStub(channel)
        answer = stub.DescribeModel(
            stubs.management_pb2.DescribeModelRequest(model_name="tiny", customized=True),
            metadata=(("authorization", f"Bearer {server.tokens.management}"),),
            timeout=60,
        )
    described = json.loads(answer.msg)[0]["customizedMetadata"]
    assert described["bundle"] == load_bundle(tiny.bundle).digest


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_token_is_required(server: TorchServe, stubs: Any, token: str | None) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        predict(server, stubs, "tiny", image(0), token)
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED  # type: ignore[attr-defined]


def test_the_inference_token_does_not_manage(server: TorchServe, stubs: Any) -> None:
    for token in ("", server.tokens.inference):
        with grpc.insecure_channel(server.addresses.grpc_management) as channel:
            stub = stubs.management_pb2_grpc.ManagementAPIsServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.ListModels(
                    stubs.management_pb2.ListModelsRequest(),
                    metadata=(("authorization", f"Bearer {token}"),),
                    timeout=60,
                )
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED  # type: ignore[attr-defined]
