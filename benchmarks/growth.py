"""Whether a worker's memory grows with the requests that it answers.

    python -m benchmarks.growth

Clients send triggered and clean images over REST to the plain and the repaired archive of a small
model, so that many requests take little time. Memory is compared to that after the first 500.
"""

from __future__ import annotations

import asyncio
import tempfile
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from torchserve_fire_build.deployment.server.torchserve import TorchServe

from .kept import Kept
from .load.clients import rest_client
from .load.command import ended_in_one_line
from .load.loops import closed_loop
from .load.prepared import PLAIN, REPAIRED, Prepared, prepare
from .load.settings import Setting, draw_bodies
from .load.subjects import SUBJECTS
from .load.workers import memory_of
from .serving import SERVER_SETTINGS, register

RESULTS = Path(__file__).parent / "results" / "growth.json"
SUBJECT = SUBJECTS[-1]
ARCHIVES = (PLAIN, REPAIRED)
FIRST, REQUESTS = 500, 20_000
SETTING = Setting("REST", batch_size=8, clients=8, share=0.1)
SEED = 0


def main() -> None:
    """Measure and write the results."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--requests",
        type=int,
        default=REQUESTS,
        help=f"to each archive in all (default: {REQUESTS})",
    )
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="file (default: the committed results)"
    )
    args = parser.parse_args()
    if args.requests <= FIRST:
        parser.error(f"--requests {args.requests}: expected more than the first {FIRST}")
    results = Kept(args.output)
    with ended_in_one_line("benchmarks.growth"):
        results.replace(SUBJECT.name, measure(args.requests))


def measure(requests: int) -> list[dict[str, Any]]:
    """Serve the archives, send the requests, and return how the memory of each grew."""
    with tempfile.TemporaryDirectory(prefix="fire-growth-") as folder:
        prepared = prepare(SUBJECT, Path(folder))
        with TorchServe(prepared.store, free_ports=True, settings=SERVER_SETTINGS) as server:
            register(server, ARCHIVES, SETTING.batch_size)
            first = _send_and_weigh(server, prepared, FIRST)
            last = _send_and_weigh(server, prepared, requests - FIRST)
    rows = [
        {
            "victim": SUBJECT.name,
            "archive": archive,
            "first": FIRST,
            "requests": requests,
            "growth": last[archive] / first[archive],
        }
        for archive in ARCHIVES
    ]
    for row in rows:
        print(row, flush=True)
    return rows


def _send_and_weigh(server: TorchServe, prepared: Prepared, requests: int) -> dict[str, int]:
    """Send so many requests to each archive, and return the memory of each one's worker."""
    asyncio.run(_send(server, prepared, requests))
    return {archive: memory_of(server.management, archive) for archive in ARCHIVES}


async def _send(server: TorchServe, prepared: Prepared, requests: int) -> None:
    generator = np.random.default_rng(SEED)
    async with rest_client(server) as send:
        for _ in tqdm(range(-(-requests // SETTING.block)), desc="growth"):
            bodies = draw_bodies(prepared.clean, prepared.triggered, SETTING, generator)
            for archive in ARCHIVES:
                await closed_loop(partial(send, archive), bodies, SETTING.clients or 1)


if __name__ == "__main__":
    main()
