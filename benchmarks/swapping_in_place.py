"""Bundles swapped in place under load, by a folder: what is lost, mixed up, or refused wrongly.

    torchserve-fire demo --output demo-output
    python -m benchmarks.swapping_in_place --demo demo-output

A real TorchServe serves the demo's model in several workers, which look at a folder for bundles.
Clients never pause. Two bundles take turns which answer triggered images differently, and each
answer is compared with what its bundle answered to its image before the load. Now and then comes a
bundle that no worker may take: for other weights, cut short, or with a byte changed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import yaml
from tqdm import tqdm

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import Bundle
from torchserve_fire.format.bundle_file import load_bundle, save_bundle
from torchserve_fire.format.write_file import check_writable
from torchserve_fire_build.demo.output_folder import DemoFiles
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive
from torchserve_fire_build.deployment.client.check_answers import same_answer
from torchserve_fire_build.deployment.client.served_versions import served_versions
from torchserve_fire_build.deployment.client.swap_in_place import swap_in_place
from torchserve_fire_build.deployment.server.torchserve import TorchServe

from .kept import write_json
from .load.command import ended_in_one_line
from .load.steady import steady_traffic, wait_for
from .serving_tables import swapping_in_place_table
from .swapping import MEGABYTE, MODEL, SETTINGS, Answered, asker, images_of

RESULTS = Path(__file__).parent / "results" / "swapping_in_place.json"
PATIENCE_SECONDS = 1200
"""For a worker that starts, and for workers that agree, on a busy machine."""
REFUSED_EVERY = 10
"""After this many swaps comes a bundle that must be refused."""


def main() -> None:
    """Measure, print and write the results."""
    args = _parse_arguments()
    with (
        ended_in_one_line("benchmarks.swapping_in_place"),
        tempfile.TemporaryDirectory(prefix="fire-swapping-") as folder,
    ):
        check_writable(args.output)
        results = measure(DemoFiles(args.demo), Path(folder), args)
    write_json([results], args.output)
    print(swapping_in_place_table([results]), end="")


def measure(demo: DemoFiles, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Swap under load.

    Args:
        demo: what `torchserve-fire demo` wrote.
        folder: for the model store, the bundles, and the folder that workers look at.
        args: the options.

    Returns:
        Counts of requests, by what became of them and by bundle, of swaps and of refusals, and how
        long a swap took over what a request took.
    """
    files = _two_bundles(demo, folder)
    looked_at = folder / "bundles"
    looked_at.mkdir()
    images = images_of(demo)
    archive = _archive(demo, folder, looked_at, args.workers)
    server = TorchServe(archive.parent, [], settings=SETTINGS, free_ports=True)
    try:
        server.start()
        server.wait_until_ready(PATIENCE_SECONDS)
        management = server.management
        management.register(
            archive.name, MODEL, workers=args.workers, startup_timeout=PATIENCE_SECONDS
        )
        workers = sorted(management.describe(MODEL).workers)
        wanted: dict[str, list[Any]] = {}
        ask = asker(server, images)
        for digest, file in files.items():
            _swap(server, file)
            wanted[digest] = [ask(index).body for index in range(len(images))]
        first, second = wanted.values()
        apart = sum(not same_answer(one, other) for one, other in zip(first, second, strict=True))
        if not apart:
            raise FireError("both bundles answer all images the same: nothing could be mixed up")
        memory = _memory(workers)
        seconds, refused = [], 0
        with steady_traffic([asker(server, images) for _ in range(args.clients)]) as answered:
            wait_for(answered, args.requests)
            for number in tqdm(range(args.swaps), desc="swaps"):
                begun = time.perf_counter()
                _swap(server, files[list(files)[number % 2]])
                seconds.append(time.perf_counter() - begun)
                if number % REFUSED_EVERY == REFUSED_EVERY - 1:
                    refused += _refuses(server, demo, folder, looked_at, number // REFUSED_EVERY)
                wait_for(answered, args.requests)
        same_workers = workers == sorted(management.describe(MODEL).workers)
        grown = _memory(workers) / memory if same_workers else 0.0
    finally:
        server.stop()
    return _summed(answered, wanted) | {
        "swaps": args.swaps,
        "clients": args.clients,
        "workers": args.workers,
        "images that show the bundle": apart,
        "images": len(images),
        "refused": refused,
        "to be refused": args.swaps // REFUSED_EVERY,
        "same workers": same_workers,
        "worker memory, after over before": grown,
        "seconds a swap, median": statistics.median(seconds),
        "seconds a swap, longest": max(seconds),
        "seconds a request, median": statistics.median(each.seconds for each in answered),
    }


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--demo", type=Path, required=True, help="output folder of `torchserve-fire demo`"
    )
    parser.add_argument("--swaps", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument(
        "--requests",
        type=int,
        default=20,
        help="answers to wait for after each swap (default: %(default)s)",
    )
    parser.add_argument("--clients", type=int, default=4, help="(default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="file (default: the committed results)"
    )
    args = parser.parse_args()
    if min(args.swaps, args.workers, args.requests, args.clients) < 1:
        raise SystemExit("expected --swaps, --workers, --requests and --clients of at least 1")
    if not DemoFiles(args.demo).bundle.is_file():
        raise SystemExit(f"--demo {args.demo}: no bundle: run torchserve-fire demo --output first")
    return args


def _two_bundles(demo: DemoFiles, folder: Path) -> dict[str, Path]:
    """Return the demo's bundle, and one that repairs a tenth as much, by their digests."""
    first = load_bundle(demo.bundle)
    other = folder / "weaker.safetensors"
    second = save_bundle(_weaker(first), other)
    return {first.digest: demo.bundle, second.digest: other}


def _weaker(bundle: Bundle) -> Bundle:
    layers = tuple(
        layer
        if layer.correction is None
        else replace(layer, correction=replace(layer.correction, strength=0.1))
        for layer in bundle.layers
    )
    return replace(bundle, layers=layers)


def _archive(demo: DemoFiles, folder: Path, looked_at: Path, workers: int) -> Path:
    values = yaml.safe_load(demo.config.read_text())
    values |= {"minWorkers": workers, "maxWorkers": workers, "startupTimeout": PATIENCE_SECONDS}
    values["handler"]["bundle_folder"] = str(looked_at)
    config = folder / "model-config.yaml"
    config.write_text(yaml.safe_dump(values))
    store = folder / "store"
    store.mkdir()
    inputs = ArchiveInputs(MODEL, "1.0", demo.model_file, demo.weights, config, demo.bundle)
    return package_archive(inputs, store)


def _swap(server: TorchServe, bundle: Path) -> None:
    swap_in_place(server.management, MODEL, bundle, report=lambda _: None, seconds=PATIENCE_SECONDS)


def _refuses(
    server: TorchServe, demo: DemoFiles, folder: Path, looked_at: Path, number: int
) -> bool:
    """Put a bundle that fits nobody where workers look; return whether each of them refuses it."""
    good = demo.bundle.read_bytes()
    foreign = folder / "foreign.safetensors"
    bundle = load_bundle(demo.bundle)
    save_bundle(replace(bundle, weights_sha256="0" * 64, state_sha256=None), foreign)
    kinds = [foreign.read_bytes(), good[: len(good) // 2], good[:-1] + bytes([good[-1] ^ 1])]
    file = looked_at / "wrong.safetensors"
    file.write_bytes(kinds[number % len(kinds)])
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        (served,) = [one for one in served_versions(server.management) if one.model == MODEL]
        # TorchServe passes a question on to any worker, now and then all of them to the same one.
        if served.answered == served.workers or time.monotonic() > deadline:
            break
    file.unlink()
    return len(served.refused) == served.workers and len(set(served.bundles.values())) == 1


def _memory(workers: list[int]) -> float:
    """Return what the workers hold that they share with no other process, in MB."""
    return sum(psutil.Process(pid).memory_full_info().uss for pid in workers) / MEGABYTE


def _summed(answered: list[Answered], wanted: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return the counts of requests: lost, answered wrongly for their bundle, and by bundle."""
    good = [each for each in answered if each.status == 200]
    wrong = [
        each
        for each in good
        if each.bundle not in wanted or not same_answer(each.body, wanted[each.bundle][each.image])
    ]
    bundles = Counter(each.bundle for each in good)
    first, second = wanted
    return {
        "requests": len(answered),
        "failed": len(answered) - len(good),
        "wrong": len(wrong),
        "first bundle": bundles[first],
        "second bundle": bundles[second],
    }


if __name__ == "__main__":
    main()
