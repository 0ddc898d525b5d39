"""Requests that carry a mark, good and bad, in all that a client may send but the path."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from tests.tiny import image

FORM = "application/x-www-form-urlencoded"
PARTS = "multipart/form-data; boundary=XX"
PARTS_WITHOUT_NAME = "--XX\r\nContent-Disposition: form-data; x={0}\r\n\r\n{0}\r\n--XX--\r\n"


def marked_image(mark: str) -> bytes:
    """Return a triggered image that carries the mark in a text chunk."""
    text, file = PngImagePlugin.PngInfo(), io.BytesIO()
    text.add_text("Comment", mark)
    with Image.open(io.BytesIO(image(1, triggered=True))) as picture:
        picture.save(file, "PNG", pnginfo=text)
    return file.getvalue()


def encoded(mark: str) -> str:
    """Return a text of base64 that carries the mark."""
    return base64.b64encode(marked_image(mark) + mark.encode()).decode()


def marked_requests(mark: str) -> Iterator[tuple[Mapping[str, str], dict[str, Any]]]:
    """Yield headers, and what `requests.post` takes besides."""
    picture, text = marked_image(mark), {"Content-Type": "text/plain"}
    yield from (
        ({"x-mark": mark, "Cookie": mark}, {"data": picture}),
        ({}, {"data": mark.encode()}),
        (text, {"data": mark}),
        (text, {"data": encoded(mark)}),
        ({}, {"data": picture[:60] + mark.encode()}),
        ({}, {"json": {"data": mark}}),
        ({}, {"json": {mark: [mark]}}),
        ({}, {"json": {"inputs": [{"name": mark, "shape": [1], "datatype": mark}]}}),
        ({"Content-Type": "application/json"}, {"data": '{"' + mark}),
        ({}, {"files": {"data": (f"{mark}.png", picture)}}),
        ({}, {"files": {mark: (f"{mark}.png", mark.encode())}}),
        ({}, {"data": {"data": mark, mark: mark}}),
        # Forms that TorchServe's front end cannot read: its exceptions quote them.
        ({"Content-Type": FORM}, {"data": f"data={mark}%zz"}),
        ({"Content-Type": FORM}, {"data": b"\x89PNG%z" + mark.encode()}),
        ({"Content-Type": PARTS}, {"data": PARTS_WITHOUT_NAME.format(mark)}),
    )


def lines_with(logs: Iterable[Path], text: str) -> list[str]:
    """Return the lines of all these files that hold a text."""
    return [
        f"{path.name}: {line}"
        for path in logs
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if text in line
    ]
