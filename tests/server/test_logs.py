"""What TorchServe logs of requests to archives that it alone serves, and over its own gRPC.

What every server logs is asked in tests/engines/test_logs.py.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Mapping
from typing import Any

import grpc
import pytest
import requests

from tests.engines import marked_requests
from tests.tiny import image
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

SECONDS = 60.0


def lines_with(server: TorchServe, text: str) -> list[str]:
    """Return the lines with a text of all that the server has written in its folder."""
    files = [path for path in (server.folder / "logs").rglob("*") if path.is_file()]
    assert server.console in files
    return marked_requests.lines_with(files, text)


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


@pytest.mark.parametrize("model", ["plain", "theirs"])
@pytest.mark.slow
def test_no_log_holds_what_was_sent(server: TorchServe, model: str) -> None:
    mark = f"mark{uuid.uuid4().hex}"
    picture = marked_requests.marked_image(mark)
    assert post(server, model, {}, data=picture) == 200
    for headers, content in marked_requests.marked_requests(mark):
        post(server, model, headers, **content)
    last = f"last{uuid.uuid4().hex}"
    # A path with its query is logged: clients must not put content there.
    post(server, f"{model}?{last}", {}, data=picture)
    wait_for(server, last)
    assert lines_with(server, mark) == []
    assert lines_with(server, marked_requests.encoded(mark)[:40]) == []
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
