"""What a real TorchServe writes to its logs about requests, and what it must not."""

from __future__ import annotations

import base64
import contextlib
import io
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from PIL import Image, PngImagePlugin

from tests.tiny import image
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

SECONDS = 60.0
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


def lines_with(server: TorchServe, text: str) -> list[str]:
    """Return the lines with a text of all that the server has written in its folder."""
    files = [path for path in (server.folder / "logs").rglob("*") if path.is_file()]
    assert server.console in files
    return [f"{path.name}: {line}" for path in files for line in lines_of(path) if text in line]


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def wait_for(server: TorchServe, text: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not lines_with(server, text):
        assert time.monotonic() < deadline, f"{text} is in no log"
        time.sleep(0.2)


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
        # Forms that TorchServe's front end cannot read: its exceptions quote them.
        ({"Content-Type": FORM}, {"data": f"data={mark}%zz"}),
        ({"Content-Type": FORM}, {"data": b"\x89PNG%z" + mark.encode()}),
        ({"Content-Type": PARTS}, {"data": PARTS_WITHOUT_NAME.format(mark)}),
    ):
        post(server, model, headers, **content)
    last = f"last{uuid.uuid4().hex}"
    # A path with its query is logged: clients must not put content there.
    post(server, f"{model}?{last}", {}, data=picture)
    wait_for(server, last)
    assert lines_with(server, mark) == []
    assert lines_with(server, encoded[:40]) == []
    assert lines_with(server, server.tokens.inference) == []


def test_no_log_holds_what_was_sent_over_grpc(server: TorchServe, stubs: Any) -> None:
    mark, last = (f"mark{uuid.uuid4().hex}" for _ in range(2))
    token = server.tokens.inference
    with grpc.insecure_channel(server.addresses.grpc_inference) as channel:
        stub = stubs.inference_pb2_grpc.InferenceAPIsServiceStub(channel)
        for model in ("tiny", "plain", "theirs"):
            for content in ({"data": mark.encode()}, {mark: mark.encode()}, {"body": image(1)}):
                request = stubs.inference_pb2.PredictionsRequest(model_name=model, input=content)
                metadata = (("authorization", f"Bearer {token}"), ("x-mark", mark))
                with contextlib.suppress(grpc.RpcError):
                    stub.Predictions(request, metadata=metadata, timeout=60)
    # The path of a later request is logged.
    requests.get(f"{server.addresses.inference}/ping?{last}", timeout=60)
    wait_for(server, last)
    assert lines_with(server, mark) == []
    assert lines_with(server, token) == []
