"""The web application: the page, and what it asks for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from torchserve_fire.errors import FireError

from .session import Review

PAGE = {
    "": "text/html",
    "review.css": "text/css",
    "review.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""The files of the page, and their media types."""

MAX_BODY = 4 << 20
"""Of a request: the numbers of some hundred thousand files."""


def web_app(review: Review, place: str) -> Starlette:
    """Return the application that shows a review.

    Args:
        review: what it shows.
        place: the path below which all lies, such as `/review`.
    """

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "")
        if name not in PAGE:
            raise HTTPException(404)
        content = files(__package__).joinpath("page", name or "review.html").read_bytes()
        return Response(content, media_type=PAGE[name])

    async def state(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(review.state))

    async def status(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(review.status))

    # Decoding is work: all cores are left to what else runs.
    decoding = asyncio.Semaphore(2)

    async def picture(request: Request) -> Response:
        index, large = request.path_params["index"], request.url.path.endswith("/large")
        async with decoding:
            try:
                png = await run_in_threadpool(review.picture, index, large=large)
            except FireError as error:
                return _problem(error, 404)
        # A file is called by its digest: it does not change.
        return Response(
            png, media_type="image/png", headers={"Cache-Control": "private, max-age=600"}
        )

    async def decide(request: Request) -> Response:
        values = await _body(request)
        indices, decision = values.get("files"), values.get("decision")
        if not isinstance(decision, str) or not isinstance(indices, list):
            raise HTTPException(400)
        if not all(type(index) is int for index in indices):
            raise HTTPException(400)
        return await _answered(review.decide, indices, decision)

    async def undo(request: Request) -> Response:
        return await _answered(review.undo)

    def starting(start: Callable[[], None]) -> Callable[[Request], Any]:
        def begin() -> dict[str, Any]:
            start()
            return {"status": review.status()}

        async def endpoint(request: Request) -> Response:
            return await _answered(begin)

        return endpoint

    steps = {
        "judge": review.judge,
        "refine": review.refine,
        "deploy": review.deploy,
        "cancel": review.cancel,
    }
    return Starlette(
        routes=[
            Mount(
                place,
                routes=[
                    Route("/", page),
                    Route("/api/state", state),
                    Route("/api/status", status),
                    Route("/picture/{index:int}", picture),
                    Route("/picture/{index:int}/large", picture),
                    Route("/api/decide", decide, methods=["POST"]),
                    Route("/api/undo", undo, methods=["POST"]),
                    *(
                        Route(f"/api/{name}", starting(start), methods=["POST"])
                        for name, start in steps.items()
                    ),
                    Route("/{name}", page),
                ],
            )
        ]
    )


async def _body(request: Request) -> dict[str, Any]:
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MAX_BODY:
            raise HTTPException(413)
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise HTTPException(400) from None
    if not isinstance(values, dict):
        raise HTTPException(400)
    return values


async def _answered(run: Callable[..., dict[str, Any]], *values: Any) -> Response:
    try:
        return JSONResponse(await run_in_threadpool(run, *values))
    except FireError as error:
        return _problem(error, 409)


def _problem(error: FireError, status: int) -> Response:
    return JSONResponse({"problem": str(error)}, status_code=status)
