"""The two predicting routes over REST, which answer as TorchServe does on the same paths.

They stand before the SDK's own, which take no raw images, judge requests of the Open Inference
Protocol by a form of their own, and can only answer 200 or an exception.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

from fastapi import APIRouter, Request, Response

from ...core.answer import Answer
from ...core.sent_body import sent_body
from ...errors import InputError
from ..refusals import refusal, refuse_other_model
from .fire_model import REQUEST_ID, FireModel
from .instances import instances_in, predictions

V1_PATH = "/v1/models/{name}:predict"
V2_PATHS = ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer")


def predicting_routes(model: FireModel) -> APIRouter:
    """Return the routes that predict by a model, and refuse with 404 for any other."""

    async def predict_v1(request: Request, name: str) -> Response:
        request_id = str(uuid.uuid4())
        if other := refuse_other_model(name, None, model.name, model.version):
            return _response(other, request_id)
        body = await _body_of(request)
        try:
            instances = instances_in(body, model.batch_size)
        except InputError as error:
            return _response(refusal(error.status, "InputError", str(error)), request_id)
        if instances is None:
            return _response(await model.answer(body, request_id), request_id)
        answers = await asyncio.gather(*(model.answer(one, request_id) for one in instances))
        return _response(predictions(answers), request_id)

    async def predict_v2(request: Request, name: str, version: str | None = None) -> Response:
        request_id = str(uuid.uuid4())
        if other := refuse_other_model(name, version, model.name, model.version):
            return _response(other, request_id)
        return _response(await model.answer(await _body_of(request), request_id), request_id)

    router = APIRouter()
    router.add_api_route(V1_PATH, predict_v1, methods=["POST"])
    for path in V2_PATHS:
        router.add_api_route(path, predict_v2, methods=["POST"])
    return router


async def _body_of(request: Request) -> Any:
    return sent_body(await request.body(), request.headers.get("content-type", ""))


def _response(answer: Answer, request_id: str) -> Response:
    return Response(
        json.dumps(answer.body),
        answer.status,
        {**answer.headers, REQUEST_ID: request_id},
        media_type="application/json",
    )
