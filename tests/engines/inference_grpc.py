"""A client of the Open Inference Protocol over gRPC, for servers that call the service otherwise.

The messages are the same on the wire, whosever classes they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc

SERVICE = "inference.GRPCInferenceService"
TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Place:
    """Where a model is asked.

    Attributes:
        address: HOST:PORT.
        service: the service's full name.
        metadata: what a client must send besides.
    """

    address: str
    service: str = SERVICE
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Inferred:
    """What came back.

    Attributes:
        status: of the call.
        said: why it was refused.
        served_as: the request's identifier, the model's name and its version.
        outputs: their values, by their names.
        metadata: that of the end of the call, of ours alone.
    """

    status: grpc.StatusCode
    said: str
    served_as: tuple[str, str, str]
    outputs: dict[str, list[Any]]
    metadata: dict[str, str]


def call(place: Place, method: str, request: Any, response: Any) -> tuple[Any, grpc.Call]:
    """Call a method, and return what it answers.

    Raises:
        grpc.RpcError: the status is not OK.
    """
    with grpc.insecure_channel(place.address) as channel:
        ask = channel.unary_unary(
            f"/{place.service}/{method}", type(request).SerializeToString, response.FromString
        )
        return ask.with_call(request, timeout=TIMEOUT_SECONDS, metadata=place.metadata)


def infer(place: Place, model: str, inputs: Sequence[Any], **fields: Any) -> Inferred:
    """Ask for one prediction; a refusal is returned, too."""
    # A process that has KServe's own messages cannot have these.
    from tritonclient.grpc import service_pb2 as pb

    request = pb.ModelInferRequest(**{"model_name": model, "inputs": inputs, **fields})
    try:
        answer, ended = call(place, "ModelInfer", request, pb.ModelInferResponse)
        said = ""
    except grpc.RpcError as error:
        answer, ended, said = pb.ModelInferResponse(), error, error.details()
    outputs = {
        output.name: list(next(value for _, value in output.contents.ListFields()))
        for output in answer.outputs
    }
    return Inferred(
        ended.code(),
        said,
        (answer.id, answer.model_name, answer.model_version),
        outputs,
        {k: v for k, v in ended.trailing_metadata() or () if k.startswith("x-fire-")},
    )
