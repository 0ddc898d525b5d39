"""The clients and the loops of the benchmarks on a real TorchServe.

Of TorchServe alone, whose gRPC and management API those benchmarks use.
"""

from __future__ import annotations

import asyncio
from functools import partial

import psutil
import pytest

from benchmarks.load.clients import CLIENTS
from benchmarks.load.loops import Answered, closed_loop, open_loop
from benchmarks.load.prepared import AGAIN, PLAIN, REPAIRED, Prepared
from benchmarks.load.settings import Setting
from benchmarks.load.workers import memory_of, start_seconds
from benchmarks.serving import describe, send_rounds
from tests.tiny import image
from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server
MODELS = {PLAIN: "plain", AGAIN: "plain", REPAIRED: "tiny"}


@pytest.mark.parametrize("protocol", CLIENTS)
def test_every_request_is_answered(server: TorchServe, protocol: str) -> None:
    async def run() -> list[Answered]:
        async with CLIENTS[protocol](server) as send:
            tiny = partial(send, "tiny")
            return [
                await closed_loop(tiny, [image(k % 4) for k in range(16)], 8),
                await open_loop(tiny, [image(k) for k in range(4)], [0.0, 0.01, 0.02, 0.03]),
            ]

    closed, opened = asyncio.run(run())
    assert len(closed.latencies) == 16
    assert len(opened.latencies) == 4
    assert all(latency > 0 for latency in closed.latencies + opened.latencies)


@pytest.mark.parametrize("protocol", CLIENTS)
def test_a_request_that_is_refused_fails(server: TorchServe, protocol: str) -> None:
    async def run(model: str) -> None:
        async with CLIENTS[protocol](server) as send:
            await send(model, b"not an image")

    for model in ("tiny", "nobody"):
        with pytest.raises(FireError, match=f"{model}: "):
            asyncio.run(run(model))


def test_rounds_of_all_archives_become_a_row(server: TorchServe, store) -> None:
    sent: list[tuple[str, bytes]] = []
    setting = Setting("REST", batch_size=8, clients=8, share=0.5)
    triggered = [image(k, triggered=True) for k in range(1, 4)]
    prepared = Prepared(store, tuple(MODELS), [], 1, [image(k) for k in range(1, 4)], triggered)

    async def run() -> dict[str, list[Answered]]:
        async with CLIENTS["REST"](server) as send:

            async def send_to(archive: str, body: bytes) -> None:
                sent.append((archive, body))
                await send(MODELS[archive], body)

            return await send_rounds(send_to, prepared, setting, 1, 0.0)

    row = describe(setting, asyncio.run(run()))
    assert row["requests"] == 3 * 16
    # Four rounds, one of them to warm up; each archive gets the same.
    bodies = [[body for archive, body in sent if archive == name] for name in MODELS]
    assert bodies[0] == bodies[1] == bodies[2]
    assert len(bodies[0]) == 4 * 16
    assert sum(body in triggered for body in bodies[0]) == 4 * 8
    assert set(row["ratios"]) == {"again / plain", "repaired / plain"}
    assert set(row["ratios"]["repaired / plain"]) == {"p50", "p99", "throughput"}


def test_a_worker_is_weighed_and_started_again(server: TorchServe) -> None:
    (before,) = server.management.describe("theirs").workers
    held = psutil.Process(before).memory_info().rss
    assert held / 20 < memory_of(server.management, "theirs") <= held
    assert start_seconds(server.management, "theirs") > 0
    (after,) = server.management.describe("theirs").workers
    assert after != before
    assert server.management.describe("theirs").ready
