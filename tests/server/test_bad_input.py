"""The worst of bad requests, sent to a real TorchServe: its worker lives, and answers right.

They go over sockets, since a client's library would refuse to send most of them.
"""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPResponse
from urllib.parse import urlsplit

import pytest

from tests.handler import damaged_images
from tests.tiny import CLASSES, image
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

GOOD = image(1)
JSON = b"Content-Type: application/json"
TEXT = b"Content-Type: text/plain"
PARTS = b"Content-Type: multipart/form-data; boundary=XX"
FORM = b"Content-Type: application/x-www-form-urlencoded"
CHUNKED = b"Transfer-Encoding: chunked"
DATA = b'Content-Disposition: form-data; name="data"'

# What TorchServe's own front end makes of a form that it cannot read, before any worker sees it.
FRONT_END = (500,)


@dataclass(frozen=True)
class Request:
    """One request, as bytes, without its token and, unless `length`, without its length."""

    statuses: tuple[int, ...]
    body: bytes = GOOD
    headers: tuple[bytes, ...] = ()
    path: bytes = b"/predictions/tiny"
    method: bytes = b"POST"
    length: bool = True

    def to_bytes(self, token: str) -> bytes:
        lines = [self.method + b" " + self.path + b" HTTP/1.1", b"Host: localhost"]
        lines += [b"Authorization: Bearer " + token.encode(), *self.headers]
        if self.length:
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


def parts(*fields: tuple[bytes, bytes]) -> bytes:
    """A multipart body of fields, each with its headers."""
    body = b"".join(b"--XX\r\n" + head + b"\r\n\r\n" + value + b"\r\n" for head, value in fields)
    return body + b"--XX--\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n0\r\n\r\n"


BOMBS = damaged_images.bombs()
LONG_TEXT = json.dumps(["x" * 1_000_000] + [""] * 20_000).encode()
REQUESTS = {
    "header-folded": Request((200,), headers=(b"X-A: a\r\n b",)),
    "header-newline": Request((200, 400), headers=(b"X-A: a\nX-B: b",)),
    "header-return": Request((400,), headers=(b"X-A: a\rX-B: b",)),
    "header-null": Request((400,), headers=(b"X-A: a\0b",)),
    "header-bytes": Request((200, 400), headers=(b"X-A: \xff\xfe",)),
    "header-name-bytes": Request((400,), headers=(b"X\xff: a",)),
    "header-name-space": Request((400,), headers=(b"X A: b",)),
    "header-no-name": Request((400,), headers=(b": a",)),
    "header-no-colon": Request((400,), headers=(b"abc",)),
    "header-long": Request((400, 431), headers=(b"X-A: " + b"x" * 100_000,)),
    "headers-many": Request((200,), headers=tuple(b"X-%d: a" % k for k in range(300))),
    "header-describe": Request((200,), headers=(b"describe: True",)),
    "header-explain": Request((200,), headers=(b"explain: True",)),
    "header-describe-empty": Request((400,), b"", (b"describe: True",)),
    "header-request-id": Request((200,), headers=(b"x-request-id: \xff",)),
    "length-negative": Request((400,), headers=(b"Content-Length: -1",), length=False),
    "length-word": Request((400,), headers=(b"Content-Length: abc",), length=False),
    "length-twice": Request((400,), headers=(b"Content-Length: 5",)),
    "length-huge": Request((413,), headers=(b"Content-Length: 99999999999",), length=False),
    "length-too-short": Request((400,), headers=(b"Content-Length: 40",), length=False),
    "length-and-chunks": Request((400,), chunk(b"abcde"), (CHUNKED,)),
    "chunks": Request((200,), chunk(GOOD), (CHUNKED,), length=False),
    "chunks-of-nothing": Request((400,), b"0\r\n\r\n", (CHUNKED,), length=False),
    "chunk-size-word": Request((400,), b"zz\r\nabc\r\n0\r\n\r\n", (CHUNKED,), length=False),
    "empty": Request((400,), b""),
    "no-length": Request((400,), b"", length=False),
    "too-large": Request((413,), b"x" * 7_000_000),
    "json-cut": Request((400,), b'{"data', (JSON,)),
    "json-deep": Request((400,), b"[" * 100_000, (JSON,)),
    "json-deep-whole": Request((400,), b"[" * 100_000 + b"]" * 100_000, (JSON,)),
    "json-nan": Request((400,), b"[NaN]", (JSON,)),
    "json-surrogate": Request((400,), b'"\\ud800"', (JSON,)),
    "json-surrogate-key": Request((400,), b'{"\\ud800": 1}', (JSON,)),
    "json-long-number": Request((400,), b"9" * 5000, (JSON,)),
    "json-long-text": Request((400,), LONG_TEXT, (JSON,)),
    "json-utf-16": Request((400,), "[1]".encode("utf-16"), (JSON,)),
    "json-null": Request((400,), b"null", (JSON,)),
    "json-other-protocol": Request((400,), b'{"inputs": [{"data": [1]}]}', (JSON,)),
    "text": Request((400,), b"hello\nworld", (TEXT,)),
    "text-not-utf-8": Request((400,), b"\xff\xfe", (TEXT,)),
    "type-bytes": Request((200, 400), headers=(b"Content-Type: \xff\xfe",)),
    "type-empty": Request((200,), headers=(b"Content-Type:",)),
    "type-junk": Request((200,), headers=(b"Content-Type: ;;;=,",)),
    "type-says-compressed": Request((200,), headers=(b"Content-Encoding: gzip",)),
    "parts-one": Request((200,), parts((DATA, GOOD)), (PARTS,)),
    "parts-several": Request(
        (400,), parts((DATA, b"x"), (DATA, b"y"), (DATA[:-5] + b'body"', GOOD)), (PARTS,)
    ),
    "parts-many": Request(
        (400,), parts(*((DATA[:-2] + b'%d"' % k, b"") for k in range(500))), (PARTS,)
    ),
    "parts-name-bytes": Request((400,), parts((DATA[:-5] + b'\xff\xfe"', b"x")), (PARTS,)),
    "parts-json-cut": Request((400,), parts((DATA + b"\r\n" + JSON, b'{"a":')), (PARTS,)),
    "parts-cut": Request((400,), parts((DATA, b"x" * 500))[:200], (PARTS,)),
    "parts-none": Request((400,), b"", (PARTS,)),
    **{
        f"parts-none-described-{name}": Request((400,), b"", (PARTS, b"describe: True"), path)
        for name, path in {
            "prediction": b"/predictions/tiny",
            "explanation": b"/explanations/tiny",
            "invocation": b"/invocations?model_name=tiny",
            "v1": b"/v1/models/tiny:predict",
            "v2": b"/v2/models/tiny/infer",
        }.items()
    },
    "parts-no-boundary": Request((400,), b"abc", (b"Content-Type: multipart/form-data",)),
    "parts-no-name": Request(FRONT_END, parts((b"Content-Disposition: form-data", b"x")), (PARTS,)),
    "parts-no-headers": Request(FRONT_END, parts((b"X: y", b"x")), (PARTS,)),
    "parts-charset": Request(
        FRONT_END, parts((DATA + b"\r\n" + TEXT + b"; charset=nonsense", b"x")), (PARTS,)
    ),
    "form": Request((400,), b"data=abc", (FORM,)),
    "form-bytes": Request((400,), b"%ff=%fe", (FORM,)),
    "form-wrong-escape": Request(FRONT_END, b"data=%zz", (FORM,)),
    "query-newline": Request((200,), path=b"/predictions/tiny?a=%0d%0ab&c=%ff"),
    "query-data": Request((400,), b"", path=b"/predictions/tiny?data=abc"),
    "path-null": Request((404,), path=b"/predictions/%00"),
    "path-up": Request((404,), path=b"/predictions/../../etc/passwd"),
    "version-newline": Request((404,), path=b"/predictions/tiny/1.0%0a"),
    "method-unknown": Request((200, 400, 405), method=b"BREW"),
    **{f"bomb-{name}": Request((400, 413), body) for name, body in BOMBS.items()},
}


def send(server: TorchServe, request: bytes) -> tuple[int, bytes]:
    """Send bytes and return the status and the body of what comes back."""
    address = urlsplit(server.addresses.inference)
    with socket.create_connection((address.hostname, address.port), timeout=120) as connection:
        connection.sendall(request)
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read()


def workers(server: TorchServe) -> list[int]:
    return list(server.management.describe("tiny").workers)


def test_there_are_many() -> None:
    assert len(REQUESTS) >= 80


@dataclass(frozen=True)
class Answers:
    """What came back when all were sent together with good requests.

    Attributes:
        bad: status and body by name.
        good: those of the good requests.
        alone: those of a good request that was sent before.
        workers: process ids before, and after.
    """

    bad: dict[str, tuple[int, bytes]]
    good: list[tuple[int, bytes]]
    alone: tuple[int, bytes]
    workers: tuple[list[int], list[int]]


@pytest.fixture(scope="module")
def answers(server: TorchServe) -> Answers:
    token = server.tokens.inference
    good = Request((200,)).to_bytes(token)
    alone, before = send(server, good), workers(server)

    def ask(name: str) -> tuple[int, bytes]:
        return send(server, REQUESTS[name].to_bytes(token))

    with ThreadPoolExecutor(8) as bad, ThreadPoolExecutor(4) as beside:
        sent = {name: bad.submit(ask, name) for name in REQUESTS}
        others = [beside.submit(send, server, good) for _ in REQUESTS]
        received = {name: future.result() for name, future in sent.items()}
        untouched = [future.result() for future in others]
    return Answers(received, untouched, alone, (before, workers(server)))


def test_good_requests_in_the_same_batches_are_answered_as_alone(answers: Answers) -> None:
    assert answers.alone[0] == 200
    assert set(answers.good) == {answers.alone}


def test_the_worker_lives(answers: Answers) -> None:
    before, after = answers.workers
    assert before == after


@pytest.mark.parametrize("name", list(REQUESTS))
def test_a_bad_request(answers: Answers, name: str) -> None:
    status, body = answers.bad[name]
    assert status in REQUESTS[name].statuses, body
    if status == 200:
        assert set(json.loads(body)) == set(CLASSES)
    elif body:  # TorchServe says nothing but 413 to what is larger than it takes.
        answer = json.loads(body)
        if "outputs" in answer:  # Asked in the Open Inference Protocol, it is answered so.
            assert answer["error"].isprintable()
            assert answer["outputs"][1]["data"] == [status]
        else:
            assert answer["code"] == status
            assert answer["type"] != "InputError" or answer["message"].isprintable()


def test_the_worker_answers_right_after_them(server: TorchServe, answers: Answers) -> None:
    for quadrant in range(4):
        body = image(quadrant, triggered=True)
        status, answer = send(server, Request((200,), body).to_bytes(server.tokens.inference))
        probabilities = json.loads(answer)
        assert status == 200
        assert max(probabilities, key=probabilities.__getitem__) == CLASSES[quadrant]
