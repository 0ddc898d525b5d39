"""A request's body as it was sent, to be kept and sent again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

SUFFIXES = (".jpg", ".png", ".json", ".txt", ".bin")
"""Of the files that bodies are kept in."""

IMAGES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png"}


@dataclass(frozen=True)
class RequestBody:
    """A request's body.

    Attributes:
        content: its bytes.
        suffix: of a file that holds it, one of `SUFFIXES`: it says how a server hands the body
            over.
    """

    content: bytes
    suffix: str


def request_body(body: Any) -> RequestBody:
    """Return a body that TorchServe handed over: bytes, text, or decoded JSON."""
    if isinstance(body, str):
        return RequestBody(body.encode(), ".txt")
    if not isinstance(body, (bytes, bytearray)):
        return RequestBody(json.dumps(body).encode(), ".json")
    content = bytes(body)
    suffixes = (suffix for start, suffix in IMAGES.items() if content.startswith(start))
    return RequestBody(content, next(suffixes, ".bin"))
