"""The worst of bad requests: each is refused alone, the workers live, and answer right."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPResponse
from urllib.parse import urlsplit

import pytest

from tests.tiny import CLASSES, image

from .conftest import Started
from .engine import Engine
from .raw_requests import OTHERWISE, REQUESTS, Request

GOOD = Request((200,))


def send(engine: Engine, request: Request) -> tuple[int, bytes]:
    """Send a request over a socket; return the status and the body of what comes back."""
    address = urlsplit(engine.base)
    with socket.create_connection((address.hostname, address.port), timeout=120) as connection:
        connection.sendall(request.to_bytes(engine.predict_path, engine.headers))
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read()


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
def answers(started: Started) -> Answers:
    engine = started.engine
    alone, before = send(engine, GOOD), engine.workers
    with ThreadPoolExecutor(8) as bad, ThreadPoolExecutor(4) as beside:
        sent = {name: bad.submit(send, engine, request) for name, request in REQUESTS.items()}
        others = [beside.submit(send, engine, GOOD) for _ in REQUESTS]
        received = {name: future.result() for name, future in sent.items()}
        untouched = [future.result() for future in others]
    return Answers(received, untouched, alone, (before, engine.workers))


def test_good_requests_in_the_same_batches_are_answered_as_alone(answers: Answers) -> None:
    assert answers.alone[0] == 200
    assert {status for status, _ in answers.good} == {200}
    alone = json.loads(answers.alone[1])
    assert all(json.loads(body) == pytest.approx(alone) for _, body in answers.good)


def test_the_workers_live(answers: Answers) -> None:
    before, after = answers.workers
    assert before == after != []


def test_each_has_its_status(answers: Answers, engine_name: str) -> None:
    other = {} if engine_name == "torchserve" else OTHERWISE
    wrong = {
        name: answer
        for name, answer in answers.bad.items()
        if answer[0] not in other.get(name, REQUESTS[name].statuses)
    }
    assert wrong == {}


@pytest.mark.parametrize("name", list(REQUESTS))
def test_each_is_told_why_in_a_line(answers: Answers, engine_name: str, name: str) -> None:
    status, body = answers.bad[name]
    if status == 200:
        assert set(json.loads(body)) == set(CLASSES)
    elif body.startswith(b"{"):
        answer = json.loads(body)
        if "outputs" in answer:  # Asked in the Open Inference Protocol, it is answered so.
            assert answer["error"].isprintable()
            assert answer["outputs"][1]["data"] == [status]
        else:
            assert answer["code"] == status
            assert answer["type"] != "InputError" or answer["message"].isprintable()
    else:
        # To what is no HTTP, a server says a line of its own. TorchServe says nothing but 413 to
        # what is larger than it takes.
        assert not body or engine_name != "torchserve"
        assert b"\n" not in body
        assert b"Traceback" not in body


def test_the_workers_answer_right_after_them(started: Started, answers: Answers) -> None:
    for quadrant in range(4):
        status, answer = send(started.engine, Request((200,), image(quadrant, triggered=True)))
        probabilities = json.loads(answer)
        assert status == 200
        assert max(probabilities, key=probabilities.__getitem__) == CLASSES[quadrant]


def test_an_upload_that_is_broken_off_leaves_no_traceback(started: Started) -> None:
    def tracebacks() -> int:
        return sum(each.read_text(errors="replace").count("Traceback") for each in engine.logs())

    engine = started.engine
    before = tracebacks()
    request = Request((), b"x", (b"Content-Length: 99",), length=False)
    address = urlsplit(engine.base)
    for _ in range(10):
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            connection.sendall(request.to_bytes(engine.predict_path, engine.headers))
    for quadrant in range(10):
        assert send(engine, Request((200,), image(quadrant % 4)))[0] == 200
    assert tracebacks() == before
