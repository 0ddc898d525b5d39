"""A request's body as it was sent, to be kept and sent again."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

SUFFIXES = (".jpg", ".png", ".json", ".csv", ".txt", ".bin")
"""Of the files that bodies are kept in."""

IMAGES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png"}


@dataclass(frozen=True)
class RequestBody:
    """A request's body.

    Attributes:
        content: its bytes.
        suffix: of a file that holds it, such as ".json": it says how a server hands the body over.
    """

    content: bytes
    suffix: str


def as_handed_over(content: bytes, name: str) -> Any:
    """Return a body as TorchServe hands it to a handler: JSON decoded, text as text, else bytes.

    Args:
        content: the body.
        name: of the file that it is kept in, whose suffix says what it is.

    Raises:
        ValueError: it is no JSON, or no text in UTF-8, and its file is called so.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix == ".json":
        return json.loads(content)
    return content.decode() if suffix == ".txt" else bytearray(content)


def request_body(body: Any) -> RequestBody:
    """Return a body that TorchServe handed over: bytes, text, or decoded JSON."""
    if isinstance(body, str):
        # JSON may hold half of a surrogate pair, which UTF-8 does not have.
        with contextlib.suppress(UnicodeEncodeError):
            return RequestBody(body.encode(), ".txt")
    if not isinstance(body, (bytes, bytearray)):
        return RequestBody(json.dumps(body).encode(), ".json")
    content = bytes(body)
    suffixes = (suffix for start, suffix in IMAGES.items() if content.startswith(start))
    return RequestBody(content, next(suffixes, ".bin"))
