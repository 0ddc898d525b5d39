"""How soon the review page shows thousands of flagged pictures, and how it scrolls.

    python -m benchmarks.review_page

The command `torchserve-fire review` serves a folder of pictures, as a quarantine keeps them, and a
Chromium without a screen opens its address anew several times. Few pictures and many take turns.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from torchserve_fire.errors import FireError
from torchserve_fire.format.write_file import check_writable

from .kept import write_json
from .load.command import ended_in_one_line
from .markdown_table import markdown_table

RESULTS = Path(__file__).parent / "results" / "review_page.json"
PIXELS = 224
PATIENCE_MS = 120_000
BAR_SECONDS = 2.0
"""For the first paint."""
FRAMES = 300
PIXELS_A_FRAME = 80
"""As fast as a wheel that is turned without a pause."""
SMOOTH_MS = 34.0
"""Two frames of a screen with 60 a second: what is longer is seen as a jerk."""

PAINTED = """() => new Promise((resolve) => {
  const first = () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime;
  const look = () => {
    const pictures = [...document.querySelectorAll(".cell img")].filter((image) => {
      const box = image.getBoundingClientRect();
      return box.bottom > 0 && box.top < innerHeight;
    });
    if (pictures.length && pictures.every((image) => image.complete) && first() !== undefined) {
      resolve({ first: first(), pictures: performance.now() });
    } else requestAnimationFrame(look);
  };
  look();
})"""
SCROLLED = """([frames, step]) => new Promise((resolve) => {
  const grid = document.getElementById("grid"), took = [];
  let before = null;
  const next = (now) => {
    if (before !== null) took.push(now - before);
    before = now;
    if (took.length === frames) return resolve(took);
    grid.scrollTop += step;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})"""


def main() -> None:
    """Measure, print and write the results."""
    args = _parse_arguments()
    with (
        ended_in_one_line("benchmarks.review_page"),
        tempfile.TemporaryDirectory(prefix="fire-review-") as folder,
    ):
        check_writable(args.output)
        rows = measure(Path(folder), (args.few, args.many), args.rounds)
    write_json(rows, args.output)
    print(review_page_table(rows), end="")


def measure(folder: Path, counts: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Return for each number of pictures how soon they are painted, and how they scroll.

    Args:
        folder: for the pictures.
        counts: how many pictures.
        rounds: how often each page is opened.

    Raises:
        FireError: the command does not serve, or there is no browser.
    """
    from playwright.sync_api import sync_playwright

    chromium = which("chromium") or which("chromium-browser")
    if chromium is None:
        raise FireError("no chromium on PATH: apt-get install chromium")
    for count in counts:
        write_pictures(folder / str(count), count)
    opened: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    frames: dict[int, list[float]] = {count: [] for count in counts}
    with sync_playwright() as playwright:
        # In a container, root has no sandbox.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in tqdm(range(rounds), desc="rounds"):
            for count in counts:
                with served(folder, str(count)) as address:
                    # A context of its own: nothing of an earlier round is in its cache.
                    context = browser.new_context(viewport={"width": 1280, "height": 800})
                    page = context.new_page()
                    page.set_default_timeout(PATIENCE_MS)
                    page.goto(address)
                    opened[count].append(page.evaluate(PAINTED))
                    frames[count] += page.evaluate(SCROLLED, [FRAMES, PIXELS_A_FRAME])
                    page.goto("about:blank")
                    context.close()
        browser.close()
    return [summed(count, opened[count], frames[count]) for count in counts]


def summed(
    count: int, opened: Sequence[dict[str, float]], frames: Sequence[float]
) -> dict[str, Any]:
    """Return the figures of one number of pictures.

    Args:
        count: of pictures.
        opened: of each time that the page was opened: milliseconds from the request to the first
            paint, and until all pictures in view were there.
        frames: milliseconds of each frame while the page scrolled.
    """
    return {
        "pictures": count,
        "opened": len(opened),
        "seconds to the first paint, median": _median(opened, "first") / 1000,
        "seconds to the first paint, longest": max(each["first"] for each in opened) / 1000,
        "seconds to all pictures in view, median": _median(opened, "pictures") / 1000,
        "seconds to all pictures in view, longest": max(e["pictures"] for e in opened) / 1000,
        "frames": len(frames),
        "frame, median of milliseconds": statistics.median(frames),
        "frames that are smooth": sum(each <= SMOOTH_MS for each in frames) / len(frames),
    }


def review_page_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return how soon the page shows pictures, over the row with the fewest, and how it scrolls."""
    few = min(rows, key=lambda row: row["pictures"], default={})
    headings = [
        "pictures",
        "first paint, median (longest)",
        "against the fewest",
        "all pictures in view, median (longest)",
        "frames in time while scrolling",
    ]
    first, shown = "seconds to the first paint", "seconds to all pictures in view"
    lines = [
        [
            f"{row['pictures']:,}",
            f"{row[f'{first}, median']:.2f} s ({row[f'{first}, longest']:.2f} s)",
            f"{row[f'{first}, median'] / few[f'{first}, median']:.2f}",
            f"{row[f'{shown}, median']:.2f} s ({row[f'{shown}, longest']:.2f} s)",
            f"{row['frames that are smooth']:.1%}",
        ]
        for row in rows
    ]
    return markdown_table(headings, lines)


def write_pictures(folder: Path, count: int) -> None:
    """Write smooth random pictures, each another one, as PNG."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    size = (PIXELS, PIXELS)
    for i in tqdm(range(count), desc="pictures"):
        coarse = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize(size, Image.Resampling.BICUBIC).save(file, "PNG", compress_level=1)
        (folder / f"{i:05}.png").write_bytes(file.getvalue())


@contextmanager
def served(folder: Path, quarantine: str) -> Iterator[str]:
    """Serve a review as a person would; yield the address of its page.

    Raises:
        FireError: the command ends without one.
    """
    with tempfile.TemporaryDirectory(prefix="fire-review-output-") as output:
        words = ["review", quarantine, "--output", output]
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and command.
            [sys.executable, "-m", "torchserve_fire_build.commands.main", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said = ""
            for line in process.stdout or ():
                said = line.strip()
                if said.startswith("http://"):
                    break
            else:
                raise FireError(f"torchserve-fire review: no page: {said}")
            # Meanwhile the pictures are grouped, as for whoever opens the address at once.
            yield said
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def _median(opened: Sequence[dict[str, float]], name: str) -> float:
    return statistics.median(each[name] for each in opened)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.review_page", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--few", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument("--many", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file for the results")
    args = parser.parse_args()
    if args.rounds < 1 or args.few < 1 or args.many <= args.few:
        raise SystemExit("expected --rounds and --few of at least 1, and --many above --few")
    return args


if __name__ == "__main__":
    main()
