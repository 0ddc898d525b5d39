"""What no route takes, or what is too large, answered as TorchServe answers it."""

from __future__ import annotations

import json

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from .refusals import refusal

KINDS = {404: "ResourceNotFoundException", 405: "MethodNotAllowedException"}


async def answer_http_error(_: Request, error: Exception) -> Response:
    """Answer an `HTTPException`; an exception handler of Starlette and FastAPI."""
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for.
    kind = KINDS.get(error.status_code, "InputError")
    body = refusal(error.status_code, kind, error.detail).body
    return Response(json.dumps(body), error.status_code, media_type="application/json")
