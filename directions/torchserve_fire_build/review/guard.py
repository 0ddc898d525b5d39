"""Who may ask the page's server: a browser on this machine that was given the token."""

from __future__ import annotations

import hmac
from collections.abc import Collection, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "review"
TOKEN = "token"  # noqa: S105 - the name of a parameter.

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Of every answer: nothing comes from elsewhere or goes there, and no script is inline."""


class Guard:
    """Refuses what does not come from the page itself.

    A foreign page in the same browser may send requests here, too: under a name of its own that it
    lets point to this machine, or from its own origin. So the host must be a name of loopback, the
    origin of what changes something must be this server, and the cookie must be there.

    Args:
        app: what is guarded.
        hosts: `host:port`, as browsers name this server.
        place: the path that the cookie is for: other servers of this machine do not get it.
        token: for the first request, and in the cookie.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], place: str, token: str) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._place = place
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._answer(scope)
        await (answer or self._app)(scope, receive, send_with_headers)

    def _answer(self, scope: MutableMapping[str, Any]) -> Response | None:
        """Return an answer of its own; None where the request may pass."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host not in self._hosts:
            return _refused("this name is not the page's: use the address that was printed")
        reads = scope["method"] in ("GET", "HEAD")
        if not reads and headers.get("origin") != f"http://{host}":
            return _refused("the request comes from another page")
        given = parse_qs(scope["query_string"].decode("latin-1")).get(TOKEN)
        if given and reads:
            return self._let_in(given[0])
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return _refused("the request comes from another page")
        if not self._is_token(_cookie(headers)):
            return _refused("open the address that torchserve-fire review printed")
        return None

    def _let_in(self, token: str) -> Response:
        if not self._is_token(token):
            return _refused("this token is not of this start: open the address printed last")
        response = RedirectResponse(self._place, status_code=303)
        response.set_cookie(COOKIE, self._token, path=self._place, httponly=True, samesite="strict")
        return response

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _refused(reason: str) -> Response:
    return PlainTextResponse(f"403: {reason}\n", status_code=403)
