"""A request that a worker asks itself while it starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ts.context import RequestProcessor


@contextlib.contextmanager
def as_request(context: Any) -> Iterator[None]:
    """Let a context hold one request without headers while the block runs."""
    before = context.request_processor, context.request_ids
    context.request_processor, context.request_ids = [RequestProcessor({})], {0: "example"}
    try:
        yield
    finally:
        context.request_processor, context.request_ids = before
