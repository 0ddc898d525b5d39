"""How long our preprocessing takes, over TorchServe's own image_classifier on the same JPEGs.

    python -m benchmarks.preprocessing

Both are called as the server calls them, in one process, in turn. The stock handler resizes the
shorter side to 256 and cuts out 224 x 224; ours resizes to 224 x 224, of which nothing is cut off.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from ts.torch_handler.image_classifier import ImageClassifier

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire.serve.fire_handler import FireHandler

from .kept import Kept
from .load.photographs import cut_photographs, to_jpeg

RESULTS = Path(__file__).parent / "results" / "preprocessing.json"
SIZES = ((32, 32), (500, 375), (4000, 3000))
BATCHES = (1, 8)
SECONDS = 20.0
LEAST, MOST = 7, 200
"""Repetitions: as many as about so many seconds allow, between these."""
INPUT = InputDescription("image", (3, 224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

Preprocess = Callable[[list[dict[str, Any]]], Tensor]


def main() -> None:
    """Measure all sizes and write the results."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="file (default: the committed results)"
    )
    results = Kept(parser.parse_args().output)
    # What the batch is resized by is one thread's work: the same for its arithmetic.
    torch.set_num_threads(1)
    for width, height in SIZES:
        name = f"{width} x {height}"
        jpegs = [to_jpeg(each) for each in cut_photographs(max(BATCHES), (width, height), 0)]
        row = {f"batch {size}": ours_to_stock(jpegs[:size]) for size in BATCHES}
        results.replace(name, [{"victim": name, **row}])
        print(name, row, flush=True)


def ours_to_stock(jpegs: list[bytes]) -> float:
    """Return the median ratio of the seconds that a batch takes."""
    # As TorchServe hands bodies over.
    rows = [{"body": bytearray(jpeg)} for jpeg in jpegs]
    ours, stock = _ours(), _stock()
    needed = _seconds(ours, rows) + _seconds(stock, rows)
    ratios = []
    for i in range(max(LEAST, min(MOST, int(SECONDS / needed)))):
        # Each goes first as often as the other.
        order = (ours, stock) if i % 2 else (stock, ours)
        seconds = {preprocess: _seconds(preprocess, rows) for preprocess in order}
        ratios.append(seconds[ours] / seconds[stock])
    return median(ratios)


def _ours() -> Preprocess:
    handler = FireHandler()
    handler.fire_input = INPUT
    handler.fire_config = HandlerConfig("image")
    # Stacking is part of it: theirs does it there.
    return lambda rows: torch.stack(handler.preprocess(rows))


def _stock() -> Preprocess:
    handler = ImageClassifier()
    handler.device = torch.device("cpu")
    preprocess: Preprocess = handler.preprocess
    return preprocess


def _seconds(preprocess: Preprocess, rows: list[dict[str, Any]]) -> float:
    start = time.perf_counter()
    preprocess(rows)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
