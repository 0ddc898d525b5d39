"""Under load nothing is lost and nothing mixed up, whatever else happens to the server.

    FIRE_LOAD_REQUESTS=50000 python -m pytest tests/server/test_load_faults.py

sends more than the suite does.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest

from benchmarks.load.steady import steady_traffic, wait_for
from tests.server.traffic import (
    PAUSE_SECONDS,
    Client,
    Outcome,
    body_of,
    is_bad,
    is_right,
    is_triggered,
    rest_client,
    send_each,
)
from tests.tiny import TinyFiles
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

NAME = "loaded"
REQUESTS = int(os.environ.get("FIRE_LOAD_REQUESTS", "1500"))
WORKERS = 2
RECOVERY_SECONDS = 150


@pytest.fixture(scope="module")
def model(server: TorchServe) -> Iterator[str]:
    server.management.register(
        "tiny-1.0.mar",
        NAME,
        workers=WORKERS,
        batch_size=8,
        max_batch_delay=5,
        response_timeout=60,
        startup_timeout=120,
    )
    # minWorkers in the archive's configuration stand above what is asked for at registering.
    server.management.scale(NAME, "1.0", WORKERS, WORKERS, timeout=120)
    yield NAME
    server.management.unregister(NAME, "1.0")


def grpc_client(server: TorchServe, stubs: Any, channel: grpc.Channel) -> Client:
    stub = stubs.inference_pb2_grpc.InferenceAPIsServiceStub(channel)
    metadata = (("authorization", f"Bearer {server.tokens.inference}"),)

    def ask(index: int) -> Outcome:
        request = stubs.inference_pb2.PredictionsRequest(
            model_name=NAME, input={"data": body_of(index)}
        )
        try:
            answer = stub.Predictions(request, metadata=metadata, timeout=120)
        except grpc.RpcError as error:
            return Outcome(index, 0, str(error))
        body = json.loads(answer.prediction)
        # TorchServe drops the status over gRPC; the body tells it.
        return Outcome(index, body.get("code", 200), body)

    return ask


def test_another_requests_answer_and_an_unrepaired_one_are_seen(server: TorchServe) -> None:
    repaired = send_each([rest_client(server, "tiny")], 12)
    assert all(map(is_right, repaired))
    for outcome in repaired:
        for index in set(range(12)) - {outcome.index}:
            assert not is_right(replace(outcome, index=index)) or is_bad(index)
    unrepaired = send_each([rest_client(server, "plain")], 12)
    assert [o.index for o in unrepaired if not is_right(o)] == [
        index for index in range(12) if is_triggered(index) and not is_bad(index)
    ]


def test_every_request_gets_its_own_answer(server: TorchServe, model: str, stubs: Any) -> None:
    with grpc.insecure_channel(server.addresses.grpc_inference) as channel:
        clients = [rest_client(server, model) for _ in range(12)]
        clients += [grpc_client(server, stubs, channel) for _ in range(4)]
        outcomes = send_each(clients, REQUESTS)
    assert Counter(outcome.index for outcome in outcomes) == Counter(range(REQUESTS))
    assert [outcome for outcome in outcomes if not is_right(outcome)] == []
    assert sum(is_bad(outcome.index) for outcome in outcomes) == REQUESTS // 10
    assert server.management.describe(model).ready


def test_killed_workers_come_back_repaired_and_no_answer_is_wrong(
    server: TorchServe, tiny: TinyFiles, model: str
) -> None:
    before = set(server.management.describe(model).workers)
    assert len(before) == WORKERS
    with steady_traffic([rest_client(server, model) for _ in range(16)], PAUSE_SECONDS) as outcomes:
        wait_for(outcomes, 100)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            assert time.monotonic() < deadline
            workers = server.management.describe(model).workers
            if not before & set(workers) and list(workers.values()) == [True] * WORKERS:
                break
            time.sleep(0.1)
        # Those that were waiting when the workers came back may still be refused.
        wait_for(outcomes, 64)
        recovered = len(outcomes)
        wait_for(outcomes, 200)
    failed = [outcome for outcome in outcomes if outcome.status >= 500]
    assert [o for o in outcomes if o not in failed and not is_right(o)] == []
    assert [o for o in outcomes[recovered:] if o.status >= 500] == []
    answered = {o.bundle for o in outcomes if o.status == 200}
    assert answered == {load_bundle(tiny.bundle).digest}
