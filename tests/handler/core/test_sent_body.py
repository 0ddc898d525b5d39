"""What a content type makes of a body, as TorchServe's worker has it."""

from __future__ import annotations

from typing import Any

import pytest

from torchserve_fire.core.sent_body import sent_body


@pytest.mark.parametrize(
    ("content", "content_type", "wanted"),
    [
        (b"[1]", "application/json", [1]),
        (b"[1]", "Application/JSON; charset=utf-8", [1]),
        (b"[1", "application/json", b"[1"),
        (b"[" * 100_000, "application/json", b"[" * 100_000),
        (b"\xff", "application/json", b"\xff"),
        (b"abc", "text/plain", "abc"),
        (b"\xff", "text/plain", b"\xff"),
        (b"[1]", "application/octet-stream", b"[1]"),
        (b"[1]", "image/png", b"[1]"),
        (b"[1]", "", b"[1]"),
        (b"", "", b""),
    ],
)
def test_what_is_handed_over(content: bytes, content_type: str, wanted: Any) -> None:
    assert sent_body(content, content_type) == wanted
