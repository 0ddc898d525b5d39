"""What the repair costs on a real TorchServe: latency, throughput, worker start, memory.

    python -m benchmarks.serving

One server holds the same model as several archives, and gets requests for a few to each in turn:
all figures are ratios within one run. "again" is the plain archive a second time: what its ratios
lie off 1 by is noise. Which settings are measured stands in `benchmarks/load/settings.py`.
"""

from __future__ import annotations

import asyncio
import tempfile
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from torchserve_fire_build.deployment.server.torchserve import TorchServe

from .kept import Kept
from .load.clients import CLIENTS, Send
from .load.command import ended_in_one_line
from .load.loops import Answered, closed_loop, open_loop, poisson_moments
from .load.prepared import AGAIN, PLAIN, REPAIRED, STOCK, VERSION, Prepared, prepare
from .load.ratios import median_ratios, ratios
from .load.settings import (
    BATCH_SIZES,
    LOAD,
    REFERENCE_CLIENTS,
    Setting,
    draw_bodies,
    settings_of,
)
from .load.subjects import SUBJECTS, Subject
from .load.workers import START_SECONDS, memory_of, start_seconds

RESULTS = Path(__file__).parent / "results" / "serving.json"
REQUESTS = 160
STARTS = 5
BATCH_DELAY = 10
"""Milliseconds that a batch waits for more requests."""
PAIRS = {
    "again / plain": (AGAIN, PLAIN),
    "repaired / plain": (REPAIRED, PLAIN),
    "repaired / stock": (REPAIRED, STOCK),
}
# Tokens that outlive any run.
SERVER_SETTINGS = {"token_expiration_min": "1440"}
SEED = 0


def main() -> None:
    """Measure the subjects and write the results."""
    names = [subject.name for subject in SUBJECTS]
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--requests",
        type=int,
        default=REQUESTS,
        help=f"to each archive in each setting, about (default: {REQUESTS}); the small model gets "
        "several times as many, and no setting gets fewer than three rounds",
    )
    parser.add_argument(
        "--subjects", nargs="+", choices=names, default=names, help="models (default: all)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULTS,
        help="file; the rows of other subjects in it stay (default: the committed results)",
    )
    args = parser.parse_args()
    if args.requests < 1:
        parser.error(f"--requests {args.requests}: expected at least 1")
    results = Kept(args.output)
    with ended_in_one_line("benchmarks.serving"):
        for subject in SUBJECTS:
            if subject.name in args.subjects:
                results.replace(subject.name, measure(subject, args.requests))


def measure(subject: Subject, requests: int) -> list[dict[str, Any]]:
    """Serve a subject's archives, and return what was measured of them."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="fire-serving-") as folder:
        print(f"{subject.name}: building and packaging", flush=True)
        prepared = prepare(subject, Path(folder))
        with TorchServe(prepared.store, free_ports=True, settings=SERVER_SETTINGS) as server:
            for batch_size in BATCH_SIZES:
                register(server, prepared.archives, batch_size)
                measured = asyncio.run(
                    measure_settings(server, prepared, batch_size, subject.patience * requests)
                )
                rows += [{"victim": subject.name, **row} for row in measured]
                if batch_size == BATCH_SIZES[-1]:
                    row = measure_workers(server, prepared.archives)
                    bundle = {"layers": prepared.layers, "passes": prepared.passes}
                    rows.append({"victim": subject.name, **bundle, **row})
                for archive in prepared.archives:
                    server.management.unregister(archive, VERSION)
    return rows


def register(server: TorchServe, archives: tuple[str, ...], batch_size: int) -> None:
    """Register archives with one worker each, and wait for it."""
    for archive in archives:
        server.management.register(
            f"{archive}-{VERSION}.mar",
            archive,
            workers=1,
            batch_size=batch_size,
            max_batch_delay=BATCH_DELAY,
            response_timeout=int(START_SECONDS),
            startup_timeout=int(START_SECONDS),
        )


async def measure_settings(
    server: TorchServe, prepared: Prepared, batch_size: int, requests: int
) -> list[dict[str, Any]]:
    """Return the figures of all settings of a batch size."""
    rows = []
    capacities: dict[str, float] = {}
    async with AsyncExitStack() as stack:
        senders = {
            protocol: await stack.enter_async_context(client(server))
            for protocol, client in CLIENTS.items()
        }
        for setting in settings_of(batch_size):
            answered = await send_rounds(
                senders[setting.protocol],
                prepared,
                setting,
                requests,
                LOAD * capacities.get(setting.protocol, 0),
            )
            if setting.clients == REFERENCE_CLIENTS and not setting.share:
                capacities[setting.protocol] = median(x.throughput for x in answered[PLAIN])
            rows.append(describe(setting, answered))
            compared = rows[-1]["ratios"]
            print(f"{setting}: {shown(compared)}", flush=True)
    return rows


async def send_rounds(
    send: Send, prepared: Prepared, setting: Setting, requests: int, rate: float
) -> dict[str, list[Answered]]:
    """Send blocks of requests to each archive in turn; return each one's rounds.

    Args:
        send: the client.
        prepared: the archives, and what to send; in each round all get the same.
        setting: how.
        requests: to each archive, about.
        rate: of an open loop, requests in a second.
    """
    generator = np.random.default_rng(SEED)
    answered: dict[str, list[Answered]] = {archive: [] for archive in prepared.archives}
    for i in range(1 + setting.rounds(requests)):
        bodies = draw_bodies(prepared.clean, prepared.triggered, setting, generator)
        loop: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[Answered]]
        if setting.clients is None:
            moments = poisson_moments(len(bodies), rate, generator)
            loop = partial(open_loop, bodies=bodies, moments=moments)
        else:
            loop = partial(closed_loop, bodies=bodies, clients=setting.clients)
        # Each archive goes first as often as the others.
        turn = i % len(prepared.archives)
        for archive in prepared.archives[turn:] + prepared.archives[:turn]:
            block = await loop(partial(send, archive))
            if i > 0:  # The first round warms up.
                answered[archive].append(block)
    return answered


def describe(setting: Setting, answered: dict[str, list[Answered]]) -> dict[str, Any]:
    """Return a setting's row of the results."""
    latencies = [x for each in answered[PLAIN] for x in each.latencies]
    return {
        "protocol": setting.protocol,
        "batch_size": setting.batch_size,
        "clients": setting.clients,
        "triggered": setting.share,
        "requests": len(latencies),
        "plain_milliseconds": 1000 * median(latencies),
        "ratios": {
            name: ratios(answered[one], answered[to])
            for name, (one, to) in _pairs(answered).items()
        },
    }


def measure_workers(server: TorchServe, archives: tuple[str, ...]) -> dict[str, Any]:
    """Return the ratios of memory, after all those requests, and of the time to start."""
    management = server.management
    memory = {archive: [float(memory_of(management, archive))] for archive in archives}
    starts: dict[str, list[float]] = {archive: [] for archive in archives}
    for _ in range(STARTS):
        for archive in archives:
            starts[archive].append(start_seconds(management, archive))
    row = {
        "memory": median_ratios(memory, _pairs(memory)),
        "start": median_ratios(starts, _pairs(starts)),
        "starts": STARTS,
        "plain_megabytes": memory[PLAIN][0] / 1e6,
        "plain_start_seconds": median(starts[PLAIN]),
    }
    print(f"memory: {row['memory']}\nstart: {row['start']}", flush=True)
    return row


def shown(compared: dict[str, dict[str, float]]) -> str:
    """Return ratios as a line for a person."""
    return "; ".join(
        f"{name} " + ", ".join(f"{figure} {value:.3f}" for figure, value in figures.items())
        for name, figures in compared.items()
    )


def _pairs(measured: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {name: pair for name, pair in PAIRS.items() if set(pair) <= set(measured)}


if __name__ == "__main__":
    main()
