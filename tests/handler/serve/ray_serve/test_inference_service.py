"""What a replica answers over gRPC, without Ray around it; tests/engines has it in a real one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from ray.serve.grpc_util import RayServegRPCContext
from tritonclient.grpc import service_pb2 as pb

from torchserve_fire.core.answer import Answer
from torchserve_fire.serve.body_limit import MAX_BODY_BYTES
from torchserve_fire.serve.ray_serve.inference_service import (
    METHODS,
    InferenceService,
    add_inference_service,
)

ANSWER = {
    "id": "7",
    "model_name": "net",
    "model_version": "1.0",
    "outputs": [
        {"name": "classes", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]},
        {"name": "probabilities", "datatype": "FP32", "shape": [2], "data": [0.75, 0.25]},
        {"name": "flagged", "datatype": "BOOL", "shape": [1], "data": [True]},
    ],
}


class Service(InferenceService):
    """Gives one answer to everything.

    Args:
        answer: that.
        anyone: whether other machines are answered.
    """

    served_as = ("net", "1.0")

    def __init__(self, answer: Answer, anyone: bool = False) -> None:
        self.answers_other_machines = anyone
        self.answer = answer
        self.asked: list[tuple[Any, str]] = []

    async def ask(self, body: Any, request_id: str) -> Answer:
        self.asked.append((body, request_id))
        return self.answer


def context_of(peer: str) -> RayServegRPCContext:
    context = SimpleNamespace(
        auth_context=dict,
        code=lambda: None,
        details=lambda: None,
        invocation_metadata=tuple,
        peer=lambda: peer,
        peer_identities=lambda: None,
        peer_identity_key=lambda: None,
        trailing_metadata=lambda: (("request_id", "r1"),),
    )
    return RayServegRPCContext(context)


def ask(service: Service, request: Any, peer: str = "ipv4:127.0.0.1:5") -> tuple[Any, Any]:
    context = context_of(peer)
    sent = request if isinstance(request, bytes) else request.SerializeToString()
    return asyncio.run(service.ModelInfer(sent, context)), context


def test_an_answer_with_its_headers_in_the_trailing_metadata() -> None:
    service = Service(Answer(200, ANSWER, {"x-fire-flagged": "true"}))
    tensor = {"name": "x", "shape": [2], "datatype": "FP32", "contents": {"fp32_contents": [1, 2]}}
    response, context = ask(
        service, pb.ModelInferRequest(model_name="net", id="7", inputs=[tensor])
    )
    assert service.asked == [
        (
            {
                "id": "7",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}],
            },
            "r1",
        )
    ]
    assert context.code() is None
    assert context.trailing_metadata() == [("request_id", "r1"), ("x-fire-flagged", "true")]
    assert (response.id, response.model_name, response.model_version) == ("7", "net", "1.0")
    classes, probabilities, flagged = response.outputs
    assert list(classes.contents.bytes_contents) == [b"a", b"b"]
    assert list(probabilities.contents.fp32_contents) == [0.75, 0.25]
    assert list(flagged.contents.bool_contents) == [True]


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (
            Answer(400, {"error": "InputError: no"}),
            grpc.StatusCode.INVALID_ARGUMENT,
            "InputError: no",
        ),
        (
            Answer(422, {"type": "Rejected", "message": "no"}),
            grpc.StatusCode.FAILED_PRECONDITION,
            "Rejected: no",
        ),
    ],
)
def test_a_refusal_is_a_status(answer: Answer, status: Any, said: str) -> None:
    response, context = ask(Service(answer), pb.ModelInferRequest(model_name="net"))
    assert (context.code(), context.details()) == (status, said)
    assert response == pb.ModelInferResponse()


@pytest.mark.parametrize(
    ("peer", "here"),
    [
        ("ipv4:127.0.0.1:5", True),
        ("ipv4:127.3.2.1:5", True),
        ("ipv6:[::1]:5", True),
        ("ipv6:%5B::1%5D:5", True),
        ("ipv6:[::ffff:127.0.0.1]:5", True),
        ("unix:/tmp/socket", True),
        ("ipv4:10.0.0.1:5", False),
        ("ipv6:[::ffff:10.0.0.1]:5", False),
        ("ipv6:[fe80::1%eth0]:5", False),
        ("", False),
        ("something else", False),
    ],
)
def test_whom_it_answers(peer: str, here: bool) -> None:
    asked = pb.ModelInferRequest(model_name="net")
    closed, opened = Service(Answer(200, ANSWER)), Service(Answer(200, ANSWER), anyone=True)
    assert ask(closed, asked, peer)[1].code() == (
        None if here else grpc.StatusCode.PERMISSION_DENIED
    )
    assert len(closed.asked) == here
    assert ask(opened, asked, peer)[1].code() is None


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (pb.ModelInferRequest(model_name="other"), grpc.StatusCode.NOT_FOUND),
        (pb.ModelInferRequest(model_name="net", model_version="7"), grpc.StatusCode.NOT_FOUND),
        (bytes(MAX_BODY_BYTES + 1), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_what_does_not_come_to_the_model(request_: Any, status: Any) -> None:
    service = Service(Answer(200, ANSWER))
    assert ask(service, request_)[1].code() == status
    assert service.asked == []


def test_a_proxy_takes_each_method_as_bytes() -> None:
    added: list[Any] = []
    server = SimpleNamespace(add_generic_rpc_handlers=added.extend)
    add_inference_service(SimpleNamespace(**dict.fromkeys(METHODS, lambda: None)), server)
    for name in METHODS:
        call = SimpleNamespace(method=f"/inference.GRPCInferenceService/{name}")
        handler = added[0].service(call)
        assert (handler.request_deserializer, handler.response_serializer) == (None, None)
        assert callable(getattr(InferenceService, name))
