"""A request's body, as TorchServe would hand it over: what its content type says decides."""

from __future__ import annotations

import json
from typing import Any

JSON = "application/json"
TEXT = "text"


def sent_body(content: bytes, content_type: str) -> Any:
    """Return decoded JSON, text, or the bytes as they are.

    Args:
        content: the bytes that came.
        content_type: the header; empty where there was none. What does not decode as it says is
            left as bytes, and read as what it may be.
    """
    mime_type = content_type.partition(";")[0].strip().lower()
    try:
        if mime_type == JSON:
            return json.loads(content.decode())
        if mime_type.startswith(TEXT):
            return content.decode()
    except (ValueError, RecursionError):
        pass
    return content
