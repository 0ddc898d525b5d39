"""Sending requests in a closed or an open loop, and how long each answer takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Answered:
    """How requests were answered.

    Attributes:
        latencies: seconds that each took, in the order of their answers.
        seconds: from the start until the last answer.
    """

    latencies: list[float]
    seconds: float

    @property
    def throughput(self) -> float:
        """Answers in a second."""
        return len(self.latencies) / self.seconds


async def closed_loop(
    send: Callable[[bytes], Awaitable[None]], bodies: Sequence[bytes], clients: int
) -> Answered:
    """Let clients send the bodies, each its next one as soon as it has an answer."""
    waiting, latencies = iter(bodies), []

    async def client() -> None:
        for body in waiting:
            sent = time.perf_counter()
            await send(body)
            latencies.append(time.perf_counter() - sent)

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Answered(latencies, time.perf_counter() - start)


async def open_loop(
    send: Callable[[bytes], Awaitable[None]], bodies: Sequence[bytes], moments: Sequence[float]
) -> Answered:
    """Send each body at its moment, whether earlier ones are answered or not.

    A latency counts from that moment on: a client that is late itself hides no waiting.

    Args:
        send: sends a body and waits for the answer.
        bodies: what to send.
        moments: when, in seconds from the start.
    """
    latencies: list[float] = []
    start = time.perf_counter()

    async def request(body: bytes, moment: float) -> None:
        await asyncio.sleep(start + moment - time.perf_counter())
        await send(body)
        latencies.append(time.perf_counter() - start - moment)

    await asyncio.gather(*map(request, bodies, moments))
    return Answered(latencies, time.perf_counter() - start)


def poisson_moments(count: int, rate: float, generator: np.random.Generator) -> list[float]:
    """Return when requests of a Poisson process arrive, in seconds; `rate` is theirs in one."""
    moments: list[float] = generator.exponential(1 / rate, count).cumsum().tolist()
    return moments
