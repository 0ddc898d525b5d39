"""Bundles swapped back and forth under load: what is lost, and whether anything grows.

    torchserve-fire demo --output demo-output
    python -m benchmarks.swapping --demo demo-output

A real TorchServe serves the demo's repaired archive. Clients never pause, and each answer is
compared with what the same image was answered before the load. The demo's bundle and a copy that
differs in its seed alone, and so in its digest, take turns. Memory is that of one worker (what it
shares with no other process) and of TorchServe's Java process (resident), whose heap is bounded.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import requests
from tqdm import tqdm

from torchserve_fire.format.bundle_file import load_bundle, save_bundle
from torchserve_fire.format.write_file import check_writable
from torchserve_fire_build.demo.output_folder import DemoFiles
from torchserve_fire_build.deployment.client.check_answers import same_answer
from torchserve_fire_build.deployment.client.http_session import open_session
from torchserve_fire_build.deployment.client.rollout import Target
from torchserve_fire_build.deployment.client.swap import swap_bundle
from torchserve_fire_build.deployment.server.torchserve import TorchServe

from .kept import write_json
from .load.command import ended_in_one_line
from .load.steady import steady_traffic, wait_for
from .serving_tables import swapping_table

RESULTS = Path(__file__).parent / "results" / "swapping.json"
MODEL = "digits_repaired"
ARCHIVE = f"{MODEL}-1.0.mar"
IMAGES = 64
MEGABYTE = 2**20
SETTINGS = {"vmargs": "-Xmx128m"}
"""Of the server: with as much memory as the machine has, it grows until what it no longer uses is
collected, and nobody sees whether it leaks."""


@dataclass(frozen=True)
class Answered:
    """What one request came to.

    Attributes:
        image: which image was sent.
        status: HTTP status code, 0 where no answer came.
        body: the decoded answer.
        bundle: digest of the bundle that it went through.
        seconds: that it took.
    """

    image: int
    status: int
    body: Any = None
    bundle: str = ""
    seconds: float = 0.0


def main() -> None:
    """Measure, print and write the results."""
    args = _parse_arguments()
    with (
        ended_in_one_line("benchmarks.swapping"),
        tempfile.TemporaryDirectory(prefix="fire-swapping-") as folder,
    ):
        check_writable(args.output)
        results = measure(DemoFiles(args.demo), Path(folder), args)
    write_json([results], args.output)
    print(swapping_table([results]), end="")


def measure(demo: DemoFiles, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Swap under load.

    Args:
        demo: what `torchserve-fire demo` wrote.
        folder: for the model store and the second bundle.
        args: the options.

    Returns:
        Counts of requests, by what became of them and by bundle, and memory after the second and
        after the last swap.
    """
    store = folder / "store"
    store.mkdir()
    shutil.copy(demo.model_store / ARCHIVE, store)
    first = load_bundle(demo.bundle)
    other = folder / "other.safetensors"
    second = save_bundle(replace(first, seed=first.seed + 1), other)
    images = images_of(demo)
    models = [f"{MODEL}={ARCHIVE}"]
    with TorchServe(store, models, settings=SETTINGS, free_ports=True) as server:
        ask = asker(server, images)
        wanted = [ask(index).body for index in range(len(images))]
        target = Target(
            server.management, server.addresses.inference, server.tokens.inference, store
        )
        memory = {}
        clients = [asker(server, images) for _ in range(args.clients)]
        with steady_traffic(clients) as answered:
            for number in tqdm(range(1, args.swaps + 1), desc="swaps"):
                bundle = other if number % 2 else demo.bundle
                swap_bundle(target, MODEL, bundle, report=lambda _: None)
                wait_for(answered, args.requests)
                if number in (2, args.swaps):
                    memory[number] = _sizes(server)
    failed = [each for each in answered if each.status != 200]
    wrong = [
        each
        for each in answered
        if each.status == 200 and not same_answer(each.body, wanted[each.image])
    ]
    bundles = Counter(each.bundle for each in answered)
    return {
        "swaps": args.swaps,
        "clients": args.clients,
        "requests": len(answered),
        "failed": len(failed),
        "wrong": len(wrong),
        "first bundle": bundles[first.digest],
        "second bundle": bundles[second.digest],
        "after the second swap": memory[2],
        "after the last swap": memory[args.swaps],
    }


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--demo", type=Path, required=True, help="output folder of `torchserve-fire demo`"
    )
    parser.add_argument("--swaps", type=int, default=20, help="at least 2 (default: %(default)s)")
    parser.add_argument(
        "--requests",
        type=int,
        default=500,
        help="answers to wait for after each swap (default: %(default)s)",
    )
    parser.add_argument("--clients", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="file (default: the committed results)"
    )
    args = parser.parse_args()
    if args.swaps < 2 or args.requests < 1 or args.clients < 1:
        raise SystemExit("expected --swaps of at least 2, --requests and --clients of at least 1")
    if not (DemoFiles(args.demo).model_store / ARCHIVE).is_file():
        raise SystemExit(
            f"--demo {args.demo}: no {ARCHIVE}: run torchserve-fire demo --output first"
        )
    return args


def images_of(demo: DemoFiles) -> list[bytes]:
    """Return clean and triggered images of the demo, as many of each."""
    files = []
    for kind in ("clean", "triggered"):
        files += sorted(demo.samples("test", kind).rglob("*.png"))[: IMAGES // 2]
    return [file.read_bytes() for file in files]


def asker(server: TorchServe, images: Sequence[bytes]) -> Callable[[int], Answered]:
    """Return what sends an image by its number, over a connection of its own."""
    session = open_session(server.tokens.inference)
    url = f"{server.addresses.inference}/predictions/{MODEL}"

    def ask(index: int) -> Answered:
        image = index % len(images)
        begun = time.perf_counter()
        try:
            answer = session.post(url, data=images[image], timeout=120)
        except requests.RequestException:
            return Answered(image, 0)
        seconds = time.perf_counter() - begun
        if answer.status_code != 200:
            return Answered(image, answer.status_code, seconds=seconds)
        bundle = answer.headers.get("x-fire-bundle", "")
        return Answered(image, 200, answer.json(), bundle, seconds)

    return ask


def _sizes(server: TorchServe) -> dict[str, float]:
    """Return the memory of worker and server in MB, and the count of processes and folders."""
    (worker,) = server.management.describe(MODEL).workers
    process = psutil.Process(worker)
    family = psutil.Process(server.pid).children(recursive=True)
    java = [each for each in family if each.name() == "java"]
    return {
        "worker": process.memory_full_info().uss / MEGABYTE,
        "server": sum(each.memory_info().rss for each in java) / MEGABYTE,
        "processes": len(family),
        "unpacked": len(list(Path(process.cwd()).parent.iterdir())),
    }


if __name__ == "__main__":
    main()
