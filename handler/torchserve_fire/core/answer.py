"""What a server sends back for one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What a server sends back for one request.

    Attributes:
        status: HTTP status code: 200; 4xx of a request that is refused; 500 of one whose answer may
            not have gone through the corrections.
        body: of what JSON has; bytes where a handler of one's own answers so.
        headers: to be sent with it; their names are in lower case.
    """

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
