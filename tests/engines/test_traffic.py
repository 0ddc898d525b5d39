"""Under load nothing is lost and nothing mixed up, whatever else happens to the server.

    FIRE_LOAD_REQUESTS=50000 python -m pytest --all tests/engines/test_traffic.py

sends more than the suite does.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import grpc
import pytest
import requests

from benchmarks.load.steady import steady_traffic, wait_for
from tests.server.traffic import (
    PAUSE_SECONDS,
    Client,
    Outcome,
    body_of,
    is_bad,
    is_right,
    is_triggered,
    send_each,
)
from tests.tiny import TinyFiles
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.serve.grpc_messages import STATUSES

from .archive import make_archive
from .conftest import Serving, Started
from .engine import Engine, Sent, wait_until

REQUESTS = int(os.environ.get("FIRE_LOAD_REQUESTS", "1500"))
WORKERS = 2
RECOVERY_SECONDS = 150
FEW = 30
"""Answers to wait for: more than those that were on their way."""
SWAPS = 6


@pytest.fixture(scope="module")
def loaded(
    serving: Serving, tiny: TinyFiles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("loaded")
    archive = make_archive(tiny, folder, 5, name="loaded", workers=WORKERS)
    with serving(archive, "loaded", folder) as engine:
        yield engine


def rest_client(engine: Engine) -> Client:
    """Return a client with a connection of its own; every tenth request asks for a description."""
    session = requests.Session()

    def ask(index: int) -> Outcome:
        more = {"describe": "True"} if index % 10 == 3 else {}
        try:
            told = engine.ask(Sent(body_of(index)), session=session, more=more)
        except requests.RequestException as error:
            return Outcome(index, 0, str(error))
        return Outcome(index, told.status, told.body, told.headers.get("x-fire-bundle", ""))

    return ask


def grpc_client(engine: Engine) -> Client:
    """Return a client of the Open Inference Protocol over gRPC."""
    codes = {status: code for code, status in reversed(STATUSES.items())}

    def ask(index: int) -> Outcome:
        contents = {"bytes_contents": [body_of(index)]}
        told = engine.infer(
            {"name": "image", "shape": [1], "datatype": "BYTES", "contents": contents}
        )
        if told.status != grpc.StatusCode.OK:
            code = codes.get(told.status, 0)
            return Outcome(index, code, {"code": code, "message": told.said})
        names = [each.decode() for each in told.outputs["classes"]]
        return Outcome(index, 200, dict(zip(names, told.outputs["probabilities"], strict=True)))

    return ask


def newest(outcomes: list[Outcome]) -> set[str]:
    """Which bundles answered last."""
    wait_for(outcomes, FEW)
    return {each.bundle for each in outcomes[-10:] if not is_bad(each.index)}


def test_another_requests_answer_and_an_unrepaired_one_are_seen(started: Started) -> None:
    repaired = send_each([rest_client(started.engine)], 12)
    assert all(map(is_right, repaired))
    for outcome in repaired:
        for index in set(range(12)) - {outcome.index}:
            assert not is_right(replace(outcome, index=index)) or is_bad(index)
    # What the model answers itself where the trigger is.
    triggered = [each for each in repaired if is_triggered(each.index) and not is_bad(each.index)]
    assert triggered
    assert not any(is_right(replace(each, body={"north-west": 1.0})) for each in triggered)


def test_every_request_gets_its_own_answer(loaded: Engine) -> None:
    before = loaded.workers
    clients = [rest_client(loaded) for _ in range(12)]
    clients += [grpc_client(loaded) for _ in range(4)]
    outcomes = send_each(clients, REQUESTS)
    assert Counter(outcome.index for outcome in outcomes) == Counter(range(REQUESTS))
    assert [outcome for outcome in outcomes if not is_right(outcome)] == []
    assert sum(is_bad(outcome.index) for outcome in outcomes) == REQUESTS // 10
    assert loaded.workers == before


def test_swaps_under_load_lose_and_mix_nothing(started: Started, tiny: TinyFiles) -> None:
    engine = started.engine
    files = [tiny.other_bundle, tiny.bundle]
    digests = [load_bundle(file).digest for file in files]
    workers = engine.workers
    with steady_traffic([rest_client(engine) for _ in range(3)], PAUSE_SECONDS) as outcomes:
        wait_for(outcomes, FEW)
        for number in range(SWAPS):
            served = {digests[number % 2]}
            engine.swap(files[number % 2])
            wait_until(lambda served=served: newest(outcomes) == served)
            if number % 3 == 2:
                # For other weights: the bundle that serves goes on.
                engine.swap(tiny.foreign_bundle)
                wait_for(outcomes, 5 * FEW)
                assert newest(outcomes) == served
    assert [each for each in outcomes if not is_right(each)] == []
    assert {each.bundle for each in outcomes if not is_bad(each.index)} == set(digests)
    assert engine.workers == workers


def test_killed_workers_come_back_repaired_and_no_answer_is_wrong(
    loaded: Engine, tiny: TinyFiles
) -> None:
    before = set(loaded.workers)
    with steady_traffic([rest_client(loaded) for _ in range(16)], PAUSE_SECONDS) as outcomes:
        wait_for(outcomes, 100)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        loaded.start_again()
        wait_until(lambda: len(set(loaded.workers) - before) == len(before), RECOVERY_SECONDS)
        # Those that were waiting when the workers came back may still be refused.
        wait_for(outcomes, 64)
        recovered = len(outcomes)
        wait_for(outcomes, 200)
    # Without a connection, there was no answer.
    failed = [outcome for outcome in outcomes if outcome.status == 0 or outcome.status >= 500]
    assert [o for o in outcomes if o not in failed and not is_right(o)] == []
    assert [o for o in outcomes[recovered:] if o in failed] == []
    answered = {o.bundle for o in outcomes if o.status == 200}
    assert answered == {load_bundle(tiny.bundle).digest}
