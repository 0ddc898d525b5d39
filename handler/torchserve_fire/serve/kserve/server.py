"""A server of KServe's Python SDK, over one model that was opened."""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus
from pathlib import Path

import grpc
from fastapi import Request, Response
from kserve import ModelServer
from kserve.constants.constants import KSERVE_TLS_CERT_FILE_ENV, KSERVE_TLS_KEY_FILE_ENV
from kserve.model_server import app
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ...core.served_model import ServedModel
from ...errors import ConfigError, first_line
from ..body_limit import BodyLimit
from ..http_errors import answer_http_error
from .fire_model import FireModel
from .grpc_server import FireGrpcServer, FireServicer
from .repository import FireRepository
from .rest_routes import predicting_routes


class FireServer(ModelServer):  # type: ignore[misc]
    """Serves one model until SIGINT or SIGTERM, and then answers what was asked before.

    Args:
        served: the model; whoever opened it closes it.
        host: the address to listen at; the SDK itself listens at all of the machine.
        port: for REST.
        grpc_port: for gRPC.

    Raises:
        ConfigError: see `_credentials`.
    """

    def __init__(self, served: ServedModel, host: str, port: int, grpc_port: int) -> None:
        # The SDK's own server for gRPC is left out, in favour of ours.
        super().__init__(http_port=port, enable_grpc=False, enable_latency_logging=False)
        # With certificates, the SDK would take another one than the port that was named.
        self.http_port = port
        self._host = host
        self._model = FireModel(served)
        self.model_repository_extension = FireRepository(self.registered_models, served)
        servicer = FireServicer(self._model, self.dataplane, self.model_repository_extension)
        self._grpc_server = FireGrpcServer(f"{host}:{grpc_port}", servicer, self._credentials())

    def serve(self) -> None:
        """Serve until a signal comes."""
        app.add_middleware(BodyLimit)
        app.add_exception_handler(HTTPException, answer_http_error)
        app.add_exception_handler(ClientDisconnect, _gone)
        # Before the SDK's own routes, which it adds at the start.
        app.include_router(predicting_routes(self._model))
        self.start([self._model])

    async def _serve(self) -> None:
        self._rest_server.config.host = self._host
        await asyncio.gather(super()._serve(), self._grpc_server.start(self.max_threads))

    def _credentials(self) -> grpc.ServerCredentials | None:
        """Return what gRPC is served with where REST is served over TLS.

        Raises:
            ConfigError: the variables by which the SDK finds them name no certificate with its key.
        """
        files = (self.ssl_certfile, self.ssl_keyfile)
        if not any(files):
            return None
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*files)
            certificate, key = (Path(file).read_bytes() for file in files)
        except (OSError, TypeError) as error:  # TypeError: one of them is not named.
            raise ConfigError(
                f"{KSERVE_TLS_CERT_FILE_ENV}, {KSERVE_TLS_KEY_FILE_ENV}: {files[0]}, {files[1]}: "
                f"expected a certificate and its key, both in PEM ({first_line(error)})"
            ) from None
        return grpc.ssl_server_credentials([(key, certificate)])


async def _gone(_: Request, __: Exception) -> Response:
    # Nobody reads it; the SDK would write two tracebacks for each upload that is broken off.
    return Response(status_code=HTTPStatus.BAD_REQUEST)
