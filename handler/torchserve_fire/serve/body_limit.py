"""A limit on the bodies of requests, which KServe's SDK and Ray Serve take in any size."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException

MAX_BODY_BYTES = 6_553_500
"""As TorchServe has it by default (`max_request_size`)."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class BodyTooLargeError(HTTPException):
    """A request's body is larger than is taken."""

    def __init__(self) -> None:
        super().__init__(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"a body of more than {MAX_BODY_BYTES} bytes, expected fewer",
        )


class BodyLimit:
    """Middleware: whoever reads a body that is too large gets `BodyTooLargeError`.

    Args:
        app: what answers.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, with its body counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The server has checked that it is a number.
        left = MAX_BODY_BYTES
        said = int(dict(scope["headers"]).get(b"content-length", b"0"))

        async def counted() -> Message:
            nonlocal left
            if said > MAX_BODY_BYTES:
                raise BodyTooLargeError
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise BodyTooLargeError
            return message

        await self._app(scope, counted, send)
