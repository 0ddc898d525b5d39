"""The Open Inference Protocol over gRPC: what Ray Serve's proxies take, and what a replica answers.

The proxies hand a request on as bytes: only the replica reads it.
"""

from __future__ import annotations

import ipaddress
from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError, Message
from ray.serve.grpc_util import RayServegRPCContext
from tritonclient.grpc import service_pb2 as pb

from ...core.answer import Answer
from ..body_limit import MAX_BODY_BYTES
from ..grpc_messages import decoded, fill, refused
from ..refusals import answered, refuse_other_model

SERVICE = "inference.GRPCInferenceService"
METHODS = ("ModelInfer", "ModelReady", "ServerLive", "ServerReady")


def add_inference_service(servicer: Any, server: Any) -> None:
    """Have a proxy take what `InferenceService` answers, for `grpc_servicer_functions`.

    Args:
        servicer: Ray Serve's, whose methods it puts its own in the place of.
        server: the proxy's.
    """
    # Without deserializers, bytes stay bytes.
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(getattr(servicer, name)) for name in METHODS
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


class InferenceService(ABC):
    """The methods of a replica for gRPC, called as Ray Serve calls them: by the protocol's names.

    A refusal is a status; what REST says in headers stands in the trailing metadata.
    """

    answers_other_machines: bool
    """Ray Serve's port for gRPC is open to all; this says whether all are answered."""

    @property
    @abstractmethod
    def served_as(self) -> tuple[str, str]:
        """The model's name and version."""

    @abstractmethod
    async def ask(self, body: Any, request_id: str) -> Answer:
        """Answer one request's body."""

    async def ModelInfer(  # noqa: N802 - the protocol's name.
        self, request: bytes, grpc_context: RayServegRPCContext
    ) -> Message:
        """Answer one request, with others that come meanwhile."""
        response = pb.ModelInferResponse()
        asked = self._read(pb.ModelInferRequest, request, grpc_context)
        if asked is None or self._is_other(asked.model_name, asked.model_version, grpc_context):
            return response
        request_id = dict(grpc_context.trailing_metadata()).get("request_id", "")
        answer = await answered(self.ask(decoded(asked), request_id), self.served_as[0])
        grpc_context.set_trailing_metadata(list(answer.headers.items()))
        if refusal := refused(answer):
            _refuse(grpc_context, *refusal)
        else:
            fill(response, answer)
        return response

    async def ModelReady(  # noqa: N802 - the protocol's name.
        self, request: bytes, grpc_context: RayServegRPCContext
    ) -> Message:
        """Say that the model is ready: a replica that could not be repaired was never started."""
        asked = self._read(pb.ModelReadyRequest, request, grpc_context)
        if asked is None or self._is_other(asked.name, asked.version, grpc_context):
            return pb.ModelReadyResponse()
        return pb.ModelReadyResponse(ready=True)

    async def ServerLive(  # noqa: N802 - the protocol's name.
        self, request: bytes, grpc_context: RayServegRPCContext
    ) -> Message:
        """Say that the server lives."""
        asked = self._read(pb.ServerLiveRequest, request, grpc_context)
        return pb.ServerLiveResponse(live=asked is not None)

    async def ServerReady(  # noqa: N802 - the protocol's name.
        self, request: bytes, grpc_context: RayServegRPCContext
    ) -> Message:
        """Say that the server is ready."""
        asked = self._read(pb.ServerReadyRequest, request, grpc_context)
        return pb.ServerReadyResponse(ready=asked is not None)

    def _read(self, kind: Any, request: bytes, context: RayServegRPCContext) -> Any:
        """Return a message of a kind; None where it is refused, as the context says then."""
        if not (self.answers_other_machines or _is_of_this_machine(context.peer())):
            _refuse(
                context,
                grpc.StatusCode.PERMISSION_DENIED,
                "gRPC is answered to this machine alone: say `grpc_clients: any` under args if "
                "others may ask",
            )
        elif len(request) > MAX_BODY_BYTES:
            _refuse(
                context,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"a message of more than {MAX_BODY_BYTES} bytes, expected fewer",
            )
        else:
            try:
                return kind.FromString(request)
            except DecodeError:
                said = f"expected a message {kind.DESCRIPTOR.full_name}"
                _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, said)
        return None

    def _is_other(self, name: str, version: str, context: RayServegRPCContext) -> bool:
        """Return whether another model or version is meant, which is refused."""
        other = refuse_other_model(name, version or None, *self.served_as)
        if other is not None:
            _refuse(context, grpc.StatusCode.NOT_FOUND, other.body["message"])
        return other is not None


def _refuse(context: RayServegRPCContext, status: grpc.StatusCode, said: str) -> None:
    context.set_code(status)
    context.set_details(said)


def _is_of_this_machine(peer: str) -> bool:
    """Return whether a client, as gRPC names it (`ipv4:127.0.0.1:5`), is at a loopback address."""
    kind, _, place = unquote(peer).partition(":")
    if kind == "unix":
        return True
    try:
        address = ipaddress.ip_address(place.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
