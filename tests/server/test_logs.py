"""What a real TorchServe writes to its logs about requests, and what it must not."""

from __future__ import annotations

import base64
import io
import uuid
from collections.abc import Mapping

import pytest
import requests
from PIL import Image, PngImagePlugin

from directions.deployment.server import TorchServe
from tests.server.logs import lines_with, wait_for
from tests.tiny import image

pytestmark = pytest.mark.server


def marked_image(mark: str) -> bytes:
    """Return a triggered image that carries the mark in a text chunk."""
    text, file = PngImagePlugin.PngInfo(), io.BytesIO()
    text.add_text("Comment", mark)
    with Image.open(io.BytesIO(image(1, triggered=True))) as picture:
        picture.save(file, "PNG", pnginfo=text)
    return file.getvalue()


def post(server: TorchServe, model: str, headers: Mapping[str, str], **content: object) -> int:
    answer = requests.post(
        f"{server.addresses.inference}/predictions/{model}",
        headers={"Authorization": f"Bearer {server.tokens.inference}", **headers},
        timeout=60,
        **content,  # type: ignore[arg-type]
    )
    return answer.status_code


@pytest.mark.parametrize("model", ["tiny", "plain", "theirs"])
def test_no_log_holds_what_was_sent(server: TorchServe, model: str) -> None:
    mark = f"mark{uuid.uuid4().hex}"
    picture, text = marked_image(mark), {"Content-Type": "text/plain"}
    encoded = base64.b64encode(picture + mark.encode()).decode()
    assert post(server, model, {}, data=picture) == 200
    for headers, content in (
        ({"x-mark": mark, "Cookie": mark}, {"data": picture}),
        ({}, {"data": mark.encode()}),
        (text, {"data": mark}),
        (text, {"data": encoded}),
        ({}, {"data": picture[:60] + mark.encode()}),
        ({}, {"json": {"data": mark}}),
        ({}, {"json": {mark: [mark]}}),
        ({"Content-Type": "application/json"}, {"data": '{"' + mark}),
        ({}, {"files": {"data": (f"{mark}.png", picture)}}),
        ({}, {"files": {mark: (f"{mark}.png", mark.encode())}}),
        ({}, {"data": {"data": mark, mark: mark}}),
    ):
        post(server, model, headers, **content)
    last = f"last{uuid.uuid4().hex}"
    # A path with its query is logged: clients must not put content there.
    post(server, f"{model}?{last}", {}, data=picture)
    wait_for(server, last)
    assert lines_with(server, mark) == []
    assert lines_with(server, encoded[:40]) == []
    assert lines_with(server, server.tokens.inference) == []
