"""The beginning of a row or a text, to be shown in the place of a picture."""

from __future__ import annotations

LENGTH = 240
"""Characters that are shown."""


def excerpt(data: bytes) -> str:
    """Return the beginning of a text in UTF-8 as one line; what steers a terminal is left out."""
    # A character takes four bytes at most.
    text = data[: 4 * LENGTH].decode("utf-8", "replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line[:LENGTH] + ("…" if len(line) > LENGTH or len(data) > 4 * LENGTH else "")
