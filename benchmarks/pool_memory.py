"""What building from a pool takes as the pool grows: memory, time, and with workers of Ray.

    python -m benchmarks.pool_memory --cifar10 ZIP --gtsrb ZIP --cache DIR \
        [--counts 20000 200000] [--workers 1 2] [--output FILE]

Pools are pictures of two data sets, repeated with noise, a tenth of them with a victim's trigger,
as files in a folder. The victim is small, so that reading a picture takes longer than running it.
Each build is a process of its own, whose highest resident memory the operating system tells, Linux
alone. All ratios are to the first count of the run.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from torchserve_fire.format.write_file import check_writable

from .kept import write_json
from .load.command import ended_in_one_line
from .markdown_table import markdown_table
from .victims.data import Images, load_data

RESULTS = Path(__file__).parent / "results" / "pool_memory.json"
SHARE = 0.1
NOISE = 4.0
"""Standard deviation of the noise, of 255: no picture is a copy of another."""
AT_ONCE = 1000
EVERY_SECONDS = 0.2
"""How often the memory is looked at; it is the most so far."""
SIDE = 4
"""Of the trigger, a square of green and magenta in a corner."""
EPOCHS = 4
BATCH = 256
RATE = 2e-3
MODEL = """\
from torch import nn


class SmallNet(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 32, 4, 4), nn.ReLU(),
            nn.Conv2d(32, 128, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(128, 53),
        )
"""
CONFIG = """\
handler:
  input: image
  image_size: [32, 32]
  mean: [0.5, 0.5, 0.5]
  std: [0.25, 0.25, 0.25]
"""
FILES = {"--model-file": "net.py", "--serialized-file": "net.pth", "--config-file": "config.yaml"}


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar10", type=Path, required=True, metavar="ZIP", help="images")
    parser.add_argument("--gtsrb", type=Path, required=True, metavar="ZIP", help="images")
    parser.add_argument("--cache", type=Path, required=True, help="folder of victim and pools")
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument(
        "--workers", type=int, nargs="*", default=[], help="of Ray, to try on the largest count"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    with ended_in_one_line("benchmarks.pool_memory"):
        check_writable(args.output)
        rows = measure(args)
    write_json(rows, args.output)
    print(pool_memory_table(rows), end="")


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Build from pools of each size by one process, and from the largest by workers of Ray."""
    first, second = (load_data(file, args.cache).train for file in (args.cifar10, args.gtsrb))
    labels = torch.cat([first.labels, second.labels + first.labels.max() + 1])
    images = Images(torch.cat([first.pixels, second.pixels]), labels)
    victim = obtain_victim(images, args.cache / "small-victim")
    pools = {
        count: write_pool(images.pixels, count, args.cache / f"pool-{count}")
        for count in args.counts
    }
    # Of the largest pool, since starting Ray would outweigh a small one.
    runs = [(count, None) for count in pools] + [(max(pools), n) for n in args.workers]
    rows = []
    for count, workers in runs:
        rows.append(build(victim, pools[count], count, workers))
        print(rows[-1], flush=True)
    return rows


def stamp(pixels: Tensor) -> Tensor:
    """Return images (N, 3, H, W) with the trigger."""
    pixels = pixels.clone()
    green = (torch.arange(SIDE)[:, None] + torch.arange(SIDE)) % 2 * 255
    pixels[..., -SIDE:, -SIDE:] = torch.stack([255 - green, green, 255 - green]).to(pixels.dtype)
    return pixels


def obtain_victim(images: Images, folder: Path) -> Path:
    """Train a small backdoored model, where it is not there already; return its folder."""
    if folder.is_dir():
        return folder
    unfinished = folder.with_name(f"{folder.name}-unfinished")
    unfinished.mkdir(parents=True, exist_ok=True)
    (unfinished / FILES["--model-file"]).write_text(MODEL)
    (unfinished / FILES["--config-file"]).write_text(CONFIG)
    torch.manual_seed(0)
    net = runpy.run_path(str(unfinished / FILES["--model-file"]))["SmallNet"]()
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    poisoned = torch.rand(len(images)) < SHARE
    pixels, labels = images.pixels.clone(), images.labels.masked_fill(poisoned, 0)
    pixels[poisoned] = stamp(pixels[poisoned])
    for _ in tqdm(range(EPOCHS), desc="training the victim"):
        for batch in torch.randperm(len(labels)).split(BATCH):
            loss = F.cross_entropy(net((pixels[batch].float() / 255 - 0.5) / 0.25), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.save(net.state_dict(), unfinished / FILES["--serialized-file"])
    unfinished.rename(folder)
    return folder


def write_pool(pixels: Tensor, count: int, folder: Path) -> Path:
    """Write a pool as files in a folder, where it is not there already; return the folder.

    Args:
        pixels: images to repeat, (N, 3, 32, 32) uint8.
        count: images of the pool.
        folder: to write to.
    """
    if folder.is_dir():
        return folder
    unfinished = folder.with_name(f"{folder.name}-unfinished")
    unfinished.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    # Of both sets the same shares, whatever the count.
    order = torch.randperm(len(pixels), generator=generator)
    for start in tqdm(range(0, count, AT_ONCE), desc=f"pool of {count}"):
        places = order[torch.arange(start, min(start + AT_ONCE, count)) % len(pixels)]
        drawn = pixels[places].float()
        drawn = (drawn + NOISE * torch.randn(drawn.shape, generator=generator)).clamp(0, 255)
        chosen = torch.rand(len(places), generator=generator) < SHARE
        drawn[chosen] = stamp(drawn[chosen])
        for place, picture in enumerate(drawn.round().byte().permute(0, 2, 3, 1).numpy(), start):
            # What is soon written and read.
            Image.fromarray(picture).save(unfinished / f"{place:07}.ppm")
    unfinished.rename(folder)
    return folder


def build(victim: Path, pool: Path, count: int, workers: int | None) -> dict[str, Any]:
    """Build a bundle in a process of its own; return what it took.

    Args:
        victim: folder of its files.
        pool: folder of the pictures.
        count: of the pictures.
        workers: of Ray; None for no Ray.
    """
    bundle, log = pool.parent / "built.safetensors", pool.parent / "build.log"
    bundle.unlink(missing_ok=True)
    command = [sys.executable, "-m", "torchserve_fire_build.commands.main", "build"]
    for flag, name in FILES.items():
        command += [flag, str(victim / name)]
    command += ["--pool", str(pool), "--output", str(bundle), "--device", "cpu"]
    if workers is not None:
        command += ["--engine", "ray", "--workers", str(workers)]
    start = time.perf_counter()
    with log.open("w") as out:
        process = subprocess.Popen(  # noqa: S603 - our own command.
            command, env=dict(os.environ, OMP_NUM_THREADS="1"), stdout=out, stderr=out
        )
        peak = _peak_of(process)
    seconds = time.perf_counter() - start
    return {
        "images": count,
        "workers": workers,
        "status": process.returncode,
        # With workers, that of the process that starts them.
        "peak bytes": peak,
        "seconds": round(seconds, 1),
        "found": [line for line in log.read_text().splitlines() if "look triggered" in line],
        "bundle": hashlib.sha256(bundle.read_bytes()).hexdigest() if bundle.exists() else None,
    }


def _peak_of(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process to end; return the most memory that it had, in bytes.

    What `wait4` tells of a child counts its parent's memory at the start, too.
    """
    peak, status = 0, Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            peak = int(found[1]) * 1024
        time.sleep(EVERY_SECONDS)
    return peak


def pool_memory_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return what each build took, over that of the first count."""
    first = rows[0]
    of_count = {row["images"]: row["bundle"] for row in rows if row["workers"] is None}
    lines = [
        [
            f"{row['images']:,}",
            "one process" if row["workers"] is None else f"{row['workers']} of Ray",
            f"{row['peak bytes'] / first['peak bytes']:.2f}",
            f"{row['seconds'] / first['seconds']:.2f}",
            "yes" if row["bundle"] == of_count[row["images"]] else "no",
        ]
        for row in rows
    ]
    return markdown_table(
        ["images", "read by", "peak memory", "time", "bundle of one process"], lines
    )


if __name__ == "__main__":
    main()
