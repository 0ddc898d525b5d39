"""The SDK's server for gRPC, with answers that say what was found, and refusals with a status."""

from __future__ import annotations

import uuid
from concurrent import futures
from typing import Any

import grpc
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    add_GRPCInferenceServiceServicer_to_server,
)
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer

from ..body_limit import MAX_BODY_BYTES
from ..grpc_messages import decoded, fill, refused
from ..refusals import refuse_other_model
from .fire_model import FireModel
from .repository import FireRepository


class FireServicer(InferenceServicer):  # type: ignore[misc]
    """Answers over gRPC.

    Args:
        model: that is served.
        data_plane: the SDK's, for what is asked of models besides.
        repository: for loading and unloading.
    """

    def __init__(self, model: FireModel, data_plane: DataPlane, repository: FireRepository) -> None:
        super().__init__(data_plane, repository)
        self._model = model

    async def ModelInfer(  # noqa: N802 - the protocol's name.
        self, request: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Any:
        """Answer one request; the headers of the answer are its trailing metadata."""
        model = self._model
        version = request.model_version or None
        if other := refuse_other_model(request.model_name, version, model.name, model.version):
            await context.abort(grpc.StatusCode.NOT_FOUND, other.body["message"])
        answer = await model.answer(decoded(request), str(uuid.uuid4()))
        context.set_trailing_metadata(tuple(answer.headers.items()))
        if refusal := refused(answer):
            await context.abort(*refusal)
        response = pb.ModelInferResponse()
        fill(response, answer)
        return response


class FireGrpcServer(GRPCServer):  # type: ignore[misc]
    """Listens at one address; the SDK's own listens at all of the machine, for larger messages.

    Args:
        place: HOST:PORT.
        servicer: answers.
        credentials: for TLS; None: without it, as the SDK's own server always is.
    """

    def __init__(
        self, place: str, servicer: FireServicer, credentials: grpc.ServerCredentials | None
    ) -> None:
        super().__init__(0, None, None, {})
        self._credentials = credentials
        self._place = place
        self._servicer = servicer

    async def start(self, max_workers: int) -> None:
        """Serve until it is stopped."""
        options = [("grpc.max_receive_message_length", MAX_BODY_BYTES)]
        self._server = grpc.aio.server(
            futures.ThreadPoolExecutor(max_workers),
            interceptors=(ExceptionToStatusInterceptor(),),
            options=options,
        )
        add_GRPCInferenceServiceServicer_to_server(self._servicer, self._server)
        if self._credentials is None:
            self._server.add_insecure_port(self._place)
        else:
            self._server.add_secure_port(self._place, self._credentials)
        await self._server.start()
        await self._server.wait_for_termination()
