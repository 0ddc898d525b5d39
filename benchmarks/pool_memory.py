"""What building from a pool takes as the pool grows: memory, time, and with workers of Ray.

    python -m benchmarks.pool_memory --cifar10 ZIP --gtsrb ZIP --zoo DIR --cache DIR \
        [--counts 20000 200000] [--workers 1 2] [--output FILE]

Pools are pictures of two data sets, repeated with noise, a tenth of them with a victim's trigger,
as files in a folder. Each build is a process of its own, whose highest resident memory the
operating system tells. All ratios are to the first count of the run.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from torchserve_fire.format.write_file import check_writable

from .kept import write_json
from .load.command import ended_in_one_line
from .markdown_table import markdown_table
from .victims.data import load_data

RESULTS = Path(__file__).parent / "results" / "pool_memory.json"
SHARE = 0.1
NOISE = 4.0
"""Standard deviation of the noise, of 255: no picture is a copy of another."""
AT_ONCE = 1000
VICTIM = "badnets"


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar10", type=Path, required=True, metavar="ZIP", help="images")
    parser.add_argument("--gtsrb", type=Path, required=True, metavar="ZIP", help="images")
    parser.add_argument("--zoo", type=Path, required=True, help="folder of the victim")
    parser.add_argument("--cache", type=Path, required=True, help="folder of images and pools")
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--workers", type=int, nargs="*", default=[], help="numbers of them to try")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    with ended_in_one_line("benchmarks.pool_memory"):
        check_writable(args.output)
        rows = measure(args)
    write_json(rows, args.output)
    print(pool_memory_table(rows), end="")


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Build from pools of each size, in this process of the build and with workers of Ray."""
    images = [load_data(file, args.cache).train.pixels for file in (args.cifar10, args.gtsrb)]
    pixels = torch.cat(images)
    rows = []
    for count in args.counts:
        pool = write_pool(pixels, len(images[0]), count, args)
        for workers in [None, *args.workers]:
            rows.append(build(pool, count, workers, args))
            print(rows[-1], flush=True)
    return rows


def write_pool(pixels: Tensor, first: int, count: int, args: argparse.Namespace) -> Path:
    """Write a pool as files in a folder, where it is not there already; return the folder.

    Args:
        pixels: of both data sets, (N, 3, 32, 32) uint8.
        first: how many are of the first one, which the victim knows; only these are triggered.
        count: of the pool.
        args: of the command.
    """
    folder: Path = args.cache / f"pool-{count}"
    if folder.is_dir():
        return folder
    unfinished = folder.with_name(f"{folder.name}-unfinished")
    unfinished.mkdir(exist_ok=True)
    stamp = runpy.run_path(str(args.zoo / "triggers.py"))[VICTIM]
    generator = torch.Generator().manual_seed(0)
    # Of both sets the same shares, whatever the count.
    order = torch.randperm(len(pixels), generator=generator)
    for start in tqdm(range(0, count, AT_ONCE), desc=f"pool of {count}"):
        places = order[torch.arange(start, min(start + AT_ONCE, count)) % len(pixels)]
        drawn = pixels[places].float()
        drawn = (drawn + NOISE * torch.randn(drawn.shape, generator=generator)).clamp(0, 255)
        chosen = torch.rand(len(places), generator=generator) < SHARE * len(pixels) / first
        chosen &= places < first
        drawn[chosen] = stamp(drawn[chosen] / 255) * 255
        for place, picture in enumerate(drawn.round().byte().permute(0, 2, 3, 1).numpy(), start):
            Image.fromarray(picture).save(unfinished / f"{place:07}.png", compress_level=1)
    unfinished.rename(folder)
    return folder


def build(pool: Path, count: int, workers: int | None, args: argparse.Namespace) -> dict[str, Any]:
    """Build a bundle in a process of its own; return what it took.

    Args:
        pool: the folder.
        count: of its pictures.
        workers: of Ray; None for no Ray.
        args: of the command.
    """
    bundle: Path = args.cache / "built.safetensors"
    bundle.unlink(missing_ok=True)
    command = [sys.executable, "-m", "torchserve_fire_build.commands.main", "build"]
    for flag, name in (
        ("--model-file", "slim_resnet18.py"),
        ("--serialized-file", f"slim_resnet18_{VICTIM}.pth"),
        ("--config-file", "model-config.yaml"),
    ):
        command += [flag, str(args.zoo / name)]
    command += ["--pool", str(pool), "--output", str(bundle), "--device", "cpu"]
    if workers is not None:
        command += ["--engine", "ray", "--workers", str(workers)]
    start = time.perf_counter()
    log: Path = args.cache / "build.log"
    with log.open("w") as out:
        process = subprocess.Popen(  # noqa: S603 - our own command.
            command, env=dict(os.environ, OMP_NUM_THREADS="1"), stdout=out, stderr=out
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "images": count,
        "workers": workers,
        "status": process.returncode,
        "peak bytes": usage.ru_maxrss * 1024,
        "seconds": round(seconds, 1),
        "CPU seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "found": [line for line in log.read_text().splitlines() if "look triggered" in line],
        "bundle": hashlib.sha256(bundle.read_bytes()).hexdigest() if bundle.exists() else None,
    }


def pool_memory_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return what each build took, over that of the first count."""
    first = rows[0]
    lines = [
        [
            f"{row['images']:,}",
            "this process" if row["workers"] is None else f"{row['workers']} of Ray",
            f"{row['peak bytes'] / first['peak bytes']:.2f}",
            f"{row['seconds'] / first['seconds']:.1f}",
        ]
        for row in rows
    ]
    return markdown_table(["images", "read by", "peak memory", "time"], lines)


if __name__ == "__main__":
    main()
