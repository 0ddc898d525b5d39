"""Every engine answers several hundred requests as the core does: status, body, headers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from torchserve_fire import open_model
from torchserve_fire.core.sent_body import sent_body

from .conftest import Started
from .engine import Engine, Received, Sent
from .sent_requests import all_requests

REQUESTS = all_requests()
CLIENTS = 8
"""As many as a batch holds, so that batches are full of good, bad and flagged requests."""


def test_there_are_many() -> None:
    assert len(REQUESTS) >= 600


@pytest.fixture(scope="module")
def wanted(started: Started) -> dict[str, Received]:
    """What the core answers to each, one by one, in this process."""
    with open_model(started.archive) as model:
        answers = {}
        for name, sent in REQUESTS.items():
            (answer,) = model.answer([sent_body(sent.content, sent.content_type)])
            answers[name] = Received(answer.status, answer.body, answer.headers)
        return answers


def send_all(engine: Engine, sent: Mapping[str, Sent]) -> dict[str, Received]:
    own = threading.local()

    def ask(name: str) -> Received:
        if not hasattr(own, "session"):
            own.session = requests.Session()
        path = engine.infer_path if name.startswith("v2-") else engine.predict_path
        return engine.ask(sent[name], path, own.session)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return dict(zip(sent, pool.map(ask, sent), strict=True))


def same(one: Any, other: Any) -> bool:
    """Whether two bodies are the same, but for the last digits of numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        # Probabilities come in their order, the likeliest first.
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) < 1e-5
    return type(one) is type(other) and one == other


def test_the_same_statuses_bodies_and_headers(
    started: Started, wanted: dict[str, Received]
) -> None:
    received = send_all(started.engine, REQUESTS)
    differ = {
        name: (received[name], wanted[name])
        for name in REQUESTS
        if not (
            received[name].status == wanted[name].status
            and received[name].headers == wanted[name].headers
            and same(received[name].body, wanted[name].body)
        )
    }
    assert differ == {}
    assert {each.status for each in received.values()} >= {200, 400, 413}
    flags = [each.headers.get("x-fire-repaired") for each in received.values()]
    assert min(flags.count("true"), flags.count("false")) >= 30
