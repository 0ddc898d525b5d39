"""The paths over which a replica answers, and what it answers as TorchServe does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...core.answer import Answer
from ...core.sent_body import sent_body
from ..body_limit import BodyLimit
from ..http_errors import answer_http_error
from ..refusals import answered, refuse_other_model

PREDICT_PATHS = (
    "/predictions/{name}",
    "/predictions/{name}/{version}",
    "/v1/models/{name}:predict",
    "/v2/models/{name}/infer",
    "/v2/models/{name}/versions/{version}/infer",
)
READY_PATHS = ("/v2/models/{name}/ready", "/v2/models/{name}/versions/{version}/ready")
REQUEST_ID = "x-request-id"
"""The header by which Ray Serve knows a request; it makes one where the client sends none."""


class Replica(Protocol):
    """What answers."""

    @property
    def served_as(self) -> tuple[str, str]:
        """The model's name and version."""
        ...

    async def ask(self, body: Any, request_id: str) -> Answer:
        """Answer one request's body."""
        ...


def http_app(find: Callable[[], Replica]) -> Starlette:
    """Return the ASGI application of a replica.

    Args:
        find: returns the replica; called for each request.
    """

    async def predict(request: Request) -> Response:
        if unknown := _unknown(request, find()):
            return _response(unknown)
        body = sent_body(await request.body(), request.headers.get("content-type", ""))
        request_id = request.headers.get(REQUEST_ID, "")
        replica = find()
        return _response(await answered(replica.ask(body, request_id), replica.served_as[0]))

    async def ready(request: Request) -> Response:
        # A replica that could not be repaired was never started, so nobody answers for it.
        name = request.path_params["name"]
        return _response(_unknown(request, find()) or Answer(200, {"name": name, "ready": True}))

    def saying(body: Any) -> Callable[[Request], Response]:
        return lambda _: _response(Answer(200, body))

    return Starlette(
        routes=[
            *(Route(path, predict, methods=["POST", "PUT"]) for path in PREDICT_PATHS),
            *(Route(path, ready, methods=["GET"]) for path in READY_PATHS),
            Route("/v2/health/live", saying({"live": True})),
            Route("/v2/health/ready", saying({"ready": True})),
            Route("/ping", saying({"status": "Healthy"})),
        ],
        middleware=[Middleware(BodyLimit)],
        exception_handlers={HTTPException: answer_http_error},
    )


def _unknown(request: Request, replica: Replica) -> Answer | None:
    """Return the refusal of a request for another model or version, if it is for one."""
    asked, asked_version = (request.path_params.get(key) for key in ("name", "version"))
    return refuse_other_model(str(asked), asked_version, *replica.served_as)


def _response(answer: Answer) -> Response:
    return Response(
        json.dumps(answer.body),
        answer.status,
        dict(answer.headers),
        media_type="application/json",
    )
