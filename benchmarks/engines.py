"""What the repair costs on another engine than TorchServe, and whether it loses requests.

    python -m benchmarks.engines --engine kserve

The same model is served three times: plain, plain again, and with its bundle. Blocks of the same
clean images go to each in turn, so all figures are ratios within one run; "again" is noise. Then
one server of a small model gets requests that carry their identity, every tenth of them bad.
"""

from __future__ import annotations

import asyncio
import tempfile
from argparse import ArgumentParser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import torch
from tqdm import tqdm

from tests.engines.archive import MODEL, make_archive
from tests.engines.engine import Engine
from tests.engines.engines import ENGINES
from tests.server.traffic import Outcome, body_of, is_bad, is_right
from tests.tiny import write_tiny
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import Bundle, Detection, Layer
from torchserve_fire.format.bundle_file import save_bundle
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.format.digest import file_sha256
from torchserve_fire.model.config import load_config
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive

from .kept import Kept
from .load.clients import TIMEOUT_SECONDS, Send
from .load.command import ended_in_one_line
from .load.photographs import cut_photographs, to_jpeg
from .load.prepared import AGAIN, PLAIN, REPAIRED, SENT, VERSION, Prepared
from .load.settings import Setting
from .load.subjects import SUBJECTS
from .serving import BATCH_DELAY, describe, send_rounds, shown
from .serving_tables import engines_mixed_table, engines_table

RESULTS = Path(__file__).parent / "results" / "engines.json"
REQUESTS = 480
"""To each archive in each setting, about."""
BATCH_SIZE = 8
CLIENTS = (1, 8)
MIXED = 20_000
MIXED_CLIENTS = 16
MIXED_DELAY = 2
"""Milliseconds that a batch of the small model waits for more requests."""
WARM = 2_000
"""Requests until memory is first looked at."""
MEGABYTE = 1e6
LAYER, FEATURES = "layer4.0", (512, 7, 7)
NEVER = 1e9
"""A threshold that no score comes to."""
SEED = 0


def main() -> None:
    """Measure an engine and write the results."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=tuple(ENGINES), required=True)
    parser.add_argument(
        "--requests",
        type=int,
        default=REQUESTS,
        help="to each archive with each number of clients, about (default: %(default)s)",
    )
    parser.add_argument(
        "--mixed",
        type=int,
        default=MIXED,
        help=f"requests with bad input among them, more than {WARM} (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULTS,
        help="file; the rows of other engines in it stay (default: the committed results)",
    )
    args = parser.parse_args()
    if args.requests < 1 or args.mixed <= WARM:
        parser.error(f"expected --requests of at least 1, and --mixed above {WARM}")
    results = Kept(args.output)
    with ended_in_one_line("benchmarks.engines"):
        rows = [measure_mixed(args.engine, args.mixed)]
        results.replace(args.engine, rows)
        rows += measure_cost(args.engine, args.requests)
        results.replace(args.engine, rows)
    print(f"{engines_table(rows)}\n{engines_mixed_table(rows)}", end="")


def measure_cost(name: str, requests: int) -> list[dict[str, Any]]:
    """Return what clean traffic to a repaired ResNet-18 takes, over what it takes to a plain one.

    Args:
        name: of the engine.
        requests: to each archive with each number of clients, about.
    """
    with tempfile.TemporaryDirectory(prefix="fire-engines-") as temporary:
        folder = Path(temporary)
        prepared = _prepare(folder)
        engines: dict[str, Engine] = {}
        try:
            for archive in prepared.archives:
                (folder / f"of-{archive}").mkdir()
                engines[archive] = ENGINES[name](folder / f"of-{archive}")
                engines[archive].start(prepared.store / f"{archive}-{VERSION}.mar", archive)

            async def measure() -> list[dict[str, Any]]:
                rows = []
                async with _client(engines) as send:
                    for clients in CLIENTS:
                        setting = Setting("REST", BATCH_SIZE, clients)
                        answered = await send_rounds(send, prepared, setting, requests, 0.0)
                        row = describe(setting, answered)
                        print(f"{name}, {setting}: {shown(row['ratios'])}", flush=True)
                        rows.append({"victim": name, **row})
                return rows

            return asyncio.run(measure())
        finally:
            for engine in engines.values():
                engine.stop()


def measure_mixed(name: str, requests: int) -> dict[str, Any]:
    """Return what became of requests with bad input among them, and how memory grew.

    Args:
        name: of the engine.
        requests: how many, more than `WARM`.
    """
    with tempfile.TemporaryDirectory(prefix="fire-engines-") as temporary:
        folder = Path(temporary)
        (folder / "tiny").mkdir()
        engine = ENGINES[name](folder)
        try:
            engine.start(make_archive(write_tiny(folder / "tiny"), folder, MIXED_DELAY), MODEL)
            first = asyncio.run(_send(engine, 0, WARM))
            before = _memory(engine)
            outcomes = first + asyncio.run(_send(engine, WARM, requests))
            after = _memory(engine)
        finally:
            engine.stop()
    return {
        "victim": name,
        "requests": len(outcomes),
        "bad": sum(is_bad(each.index) for each in outcomes),
        "lost": sum(each.status == 0 or each.status >= 500 for each in outcomes),
        "wrong": sum(0 < each.status < 500 and not is_right(each) for each in outcomes),
        "first": WARM,
        "memory": after / before,
        "megabytes": before,
    }


def _prepare(folder: Path) -> Prepared:
    """Package ResNet-18 with random weights: plain, plain again, and with a bundle.

    The bundle judges each request at one layer, and flags none: this is about clean traffic.
    """
    subject = SUBJECTS[0]
    weights, bundle = folder / "weights.pth", folder / "bundle.safetensors"
    config, off = folder / "model-config.yaml", folder / "off" / "model-config.yaml"
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        torch.save(subject.network().state_dict(), weights)
    batches = f"batchSize: {BATCH_SIZE}\nmaxBatchDelay: {BATCH_DELAY}\n"
    config.write_text(f"{batches}handler: {subject.settings}\n")
    off.parent.mkdir()
    off.write_text(config.read_text().replace("}", ", mode: off}"))
    direction = torch.randn(FEATURES, generator=torch.Generator().manual_seed(SEED))
    layer = Layer(LAYER, FEATURES, Detection(direction, NEVER), Shift(direction, 1.0))
    save_bundle(
        Bundle(
            (layer,),
            type(subject.network()).__name__,
            file_sha256(weights),
            load_config(config).describe_input(),
            target=0,
            evidence={},
            held_out={},
            seed=SEED,
            versions={},
        ),
        bundle,
    )
    store = folder / "store"
    store.mkdir()
    for name in (PLAIN, AGAIN, REPAIRED):
        judged = name == REPAIRED
        inputs = ArchiveInputs(
            name,
            VERSION,
            subject.model_file,
            weights,
            config if judged else off,
            bundle if judged else None,
        )
        package_archive(inputs, store)
    clean = [to_jpeg(image) for image in cut_photographs(SENT, subject.sent, SEED)]
    return Prepared(store, (PLAIN, AGAIN, REPAIRED), [LAYER], 1, clean, [])


@asynccontextmanager
async def _client(engines: dict[str, Engine]) -> AsyncIterator[Send]:
    """Open a client that keeps its connections to each archive's server."""
    timeout = aiohttp.ClientTimeout(TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:

        async def send(archive: str, body: bytes) -> None:
            engine = engines[archive]
            url = f"{engine.base}{engine.predict_path}"
            try:
                async with session.post(url, data=body, headers=engine.headers) as answer:
                    text = await answer.text()
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                raise FireError(f"{archive}: no answer: {error!r}") from None
            if answer.status != 200:
                raise FireError(f"{archive}: status {answer.status}, expected 200: {text[:200]}")

        yield send


async def _send(engine: Engine, first: int, last: int) -> list[Outcome]:
    """Send the requests of these numbers, the last one left out; return what became of each."""
    outcomes: list[Outcome] = []
    numbers = iter(tqdm(range(first, last), desc="requests", mininterval=10))
    url = f"{engine.base}{engine.predict_path}"
    timeout = aiohttp.ClientTimeout(TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, headers=engine.headers) as session:

        async def client() -> None:
            for number in numbers:
                try:
                    async with session.post(url, data=body_of(number)) as answer:
                        outcome = Outcome(number, answer.status, await answer.json())
                except (aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
                    outcome = Outcome(number, 0, repr(error))
                outcomes.append(outcome)

        await asyncio.gather(*(client() for _ in range(MIXED_CLIENTS)))
    return outcomes


def _memory(engine: Engine) -> float:
    """Return what the answering processes hold that they share with no other process, in MB."""
    return sum(psutil.Process(pid).memory_full_info().uss for pid in engine.workers) / MEGABYTE


if __name__ == "__main__":
    main()
