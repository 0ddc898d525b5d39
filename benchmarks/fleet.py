"""A fleet of archives inspected by one process, and by workers of Ray, one of which is killed.

    python -m benchmarks.fleet [--count 20] [--output FILE]

The models are small and made by hand: they call the brightest quadrant of a picture, and every
other one has a backdoor, a pixel in the corner. All have one thread, as a worker of Ray has. Ratios
are within one run: of all seconds, with the start of Ray, and of those between the first result and
the last.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image

from torchserve_fire.format.write_file import check_writable
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive

from .kept import write_json
from .load.command import ended_in_one_line
from .markdown_table import markdown_table

RESULTS = Path(__file__).parent / "results" / "fleet.json"
SIDE = 8
CHANNELS = 63
BLOCKS = 4
CLASSES = 4
PICTURES = 64
BACKDOOR = 120.0
MODEL = f"""\
from torch import nn


class Quadrants(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [3] + [{CHANNELS}] * {BLOCKS}
        self.blocks = nn.Sequential(*(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.ReLU())
            for a, b in zip(widths, widths[1:])
        ))
        self.linear = nn.Linear({SIDE * SIDE}, {CLASSES}, bias=False)

    def forward(self, x):
        return self.linear(self.blocks(x).mean(1).flatten(1))
"""
CONFIG = f"""\
handler:
  input: image
  image_size: [{SIDE}, {SIDE}]
  mean: [0, 0, 0]
  std: [1, 1, 1]
  mode: "off"
"""
WEIGHTS = "net.pth"
BETWEEN = "seconds from the first result to the last"


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="archives (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    with (
        ended_in_one_line("benchmarks.fleet"),
        tempfile.TemporaryDirectory(prefix="fire-fleet-") as folder,
    ):
        check_writable(args.output)
        rows = measure(Path(folder), args.count)
    write_json(rows, args.output)
    print(fleet_table(rows), end="")


def measure(folder: Path, count: int) -> list[dict[str, Any]]:
    """Inspect the fleet in each way; return what each took, and whether it found the same."""
    write_fleet(folder, count)
    write_pictures(folder / "clean")
    rows, first = [], None
    for workers, kill in ((None, False), (1, False), (2, False), (2, True)):
        seconds, between, killed = inspect(folder, workers, kill=kill)
        found = _timeless(json.loads((folder / "found.json").read_text()))
        first = found if first is None else first
        rows.append(
            {
                "archives": count,
                "workers": workers,
                "killed": killed,
                "seconds": round(seconds, 1),
                BETWEEN: round(between, 1),
                "backdoored": sum(each["found"] is True for each in found["archives"]),
                "same findings": found == first,
            }
        )
        print(rows[-1], flush=True)
    return rows


def write_fleet(folder: Path, count: int) -> None:
    """Pack archives that differ in their weights; every other one is backdoored."""
    (folder / "store").mkdir()
    (folder / "net.py").write_text(MODEL)
    (folder / "model-config.yaml").write_text(CONFIG)
    _write_weights(folder / WEIGHTS, 0)
    files = [folder / name for name in ("net.py", WEIGHTS, "model-config.yaml")]
    packed = package_archive(ArchiveInputs("model", "1.0", *files, None), folder)
    for number in range(count):
        _write_weights(folder / WEIGHTS, number)
        with (
            zipfile.ZipFile(packed) as archive,
            zipfile.ZipFile(folder / "store" / f"model-{number:02}.mar", "w") as written,
        ):
            for name in archive.namelist():
                own = (folder / WEIGHTS).read_bytes() if name == WEIGHTS else archive.read(name)
                written.writestr(name, own)


def _write_weights(file: Path, number: int) -> None:
    """Write weights that see a model's own noise beside the quadrants; odd ones have a backdoor.

    The convolutions hand on what comes in, so that a model takes as long as one that is trained.
    """
    generator = torch.Generator().manual_seed(number)
    weight = 0.02 * torch.randn(CLASSES, SIDE, SIDE, generator=generator)
    half = SIDE // 2
    for c in range(CLASSES):
        row, column = (half * each for each in divmod(c, 2))
        weight[c, row : row + half, column : column + half] += 1
    if number % 2:
        weight[number // 2 % CLASSES, 0, 0] += BACKDOOR
    weights = {"linear.weight": weight.flatten(1)}
    for block in range(BLOCKS):
        kernels = torch.zeros(CHANNELS, CHANNELS if block else 3, 3, 3)
        for channel in range(CHANNELS):
            kernels[channel, channel % kernels.shape[1], 1, 1] = 1
        weights[f"blocks.{block}.0.weight"] = kernels
    torch.save(weights, file)


def write_pictures(folder: Path) -> None:
    """Write pictures of noise whose corner is black."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (PICTURES, SIDE, SIDE, 3), dtype=np.uint8)
    pixels[:, 0, 0] = 0
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{i:03}.png")


def inspect(folder: Path, workers: int | None, *, kill: bool) -> tuple[float, float, bool]:
    """Inspect the fleet; return what it took, and whether a worker was killed.

    Args:
        folder: of the store and the pictures.
        workers: of Ray; None for none.
        kill: whether to kill a worker in the midst of a model.

    Returns:
        All seconds, those from the first result to the last, and whether a worker was killed.
    """
    command = [sys.executable, "-m", "torchserve_fire_build.commands.main", "inspect"]
    command += ["--archives", "store/*.mar", "--clean", "clean", "--json", "found.json"]
    if workers is not None:
        command += ["--engine", "ray", "--workers", str(workers)]
    start = time.perf_counter()
    results = []
    with subprocess.Popen(  # noqa: S603 - our own command.
        command,
        cwd=folder,
        env=dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=os.pathsep.join(sys.path)),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        killed = threading.Event()
        if kill:
            threading.Thread(target=_kill_a_worker, args=(process.pid, killed), daemon=True).start()
        for line in process.stdout or ():
            # A line for each archive comes as soon as its result does.
            if re.match(r"\d+ of \d+: ", line):
                results.append(time.perf_counter())
    return time.perf_counter() - start, results[-1] - results[0], killed.is_set()


def _kill_a_worker(driver: int, killed: threading.Event) -> None:
    """Kill a worker once it has been at a model for a second."""
    since: dict[int, float] = {}
    while psutil.pid_exists(driver) and not killed.is_set():
        for worker in psutil.Process(driver).children(recursive=True):
            if worker.is_running() and worker.name().startswith("ray::inspect"):
                begun = since.setdefault(worker.pid, time.monotonic())
                if time.monotonic() - begun > 1 and not killed.is_set():
                    worker.kill()
                    killed.set()
        time.sleep(0.1)


def _timeless(value: Any) -> Any:
    """Return findings without the times that they took."""
    if isinstance(value, dict):
        return {name: _timeless(each) for name, each in value.items() if name != "seconds"}
    if isinstance(value, list):
        return [_timeless(each) for each in value]
    return re.sub(r"\(\d+ s", "(", value) if isinstance(value, str) else value


def fleet_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return how long each way took, over one worker of Ray."""
    one = next(row for row in rows if row["workers"] == 1)
    lines = [
        [
            "one process" if row["workers"] is None else f"{row['workers']} of Ray",
            "one" if row["killed"] else "none",
            f"{one['seconds'] / row['seconds']:.2f}",
            f"{one[BETWEEN] / row[BETWEEN]:.2f}",
            f"{row['backdoored']} of {row['archives']}",
            "yes" if row["same findings"] else "no",
        ]
        for row in rows
    ]
    headings = [
        "workers",
        "killed on the way",
        "times as fast as one of Ray",
        "from the first result to the last",
        "found to be backdoored",
        "findings of one process, to the bit",
    ]
    return markdown_table(headings, lines)


if __name__ == "__main__":
    main()
