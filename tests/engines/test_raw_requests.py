"""The worst of bad requests, as bytes over sockets, to the engines that are not TorchServe."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPResponse
from urllib.parse import urlsplit

import pytest

from tests.server.test_bad_input import REQUESTS, Request

from .conftest import Started
from .engine import Engine

pytestmark = pytest.mark.parametrize(
    "started", ["kserve", pytest.param("ray", marks=pytest.mark.slow)], indirect=True
)

NOT_A_FORM = (400,)
OTHERWISE = {
    # A header folded into a second line was dropped from HTTP/1.1.
    "header-folded": (400,),
    "header-long": (200,),
    # Forms are bodies like any other.
    "parts-one": NOT_A_FORM,
    "parts-no-name": NOT_A_FORM,
    "parts-no-headers": NOT_A_FORM,
    "parts-charset": NOT_A_FORM,
    "form-wrong-escape": NOT_A_FORM,
    "parts-none-described-explanation": (404,),
    "parts-none-described-invocation": (404,),
    # Of a request's identifier that is no ASCII, Ray Serve itself makes a 500.
    "header-request-id": (200, 500),
}
"""Where the status is not TorchServe's."""


def send(engine: Engine, request: Request) -> tuple[int, bytes]:
    path = request.path.replace(b"/predictions/tiny", engine.predict_path.encode())
    address = urlsplit(engine.base)
    with socket.create_connection((address.hostname, address.port), timeout=120) as connection:
        connection.sendall(replace(request, path=path).to_bytes("none"))
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read()


def test_each_is_refused_alone(started: Started) -> None:
    good = Request((200,))
    status, alone = send(started.engine, good)
    assert status == 200
    with ThreadPoolExecutor(8) as bad, ThreadPoolExecutor(4) as beside:
        sent = {name: bad.submit(send, started.engine, each) for name, each in REQUESTS.items()}
        others = [beside.submit(send, started.engine, good) for _ in REQUESTS]
        received = {name: future.result() for name, future in sent.items()}
        untouched = [future.result() for future in others]
    assert {status for status, _ in untouched} == {200}
    assert all(json.loads(body) == pytest.approx(json.loads(alone)) for _, body in untouched)
    wrong = {
        name: answer
        for name, answer in received.items()
        if answer[0] not in OTHERWISE.get(name, REQUESTS[name].statuses)
    }
    assert wrong == {}
    refused = [body for status, body in received.values() if status >= 400]
    assert not any(b"Traceback" in body or body.count(b"\n") for body in refused)
