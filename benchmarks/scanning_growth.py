"""How the time of a scan grows with the number of classes, for one network.

    python -m benchmarks.scanning_growth --data cifar10-jpg.zip --cache DIR

The network is a benign ResNet of the benchmark. Its last layer gets more classes: weights of the
ten, each moved at random. All scans take all of their steps. Seconds are of CPU, within one run.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import torch
from torch import nn

from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.reconstruct.subject import gather_subject
from torchserve_fire_build.scan.scan_model import scan_model

from .first_bundle import draw_clean
from .kept import write_json
from .victims.data import load_data
from .victims.recipe import BriefRecipe
from .victims.train import obtain_victim

RESULTS = Path(__file__).parent / "results" / "scanning_growth.json"
CLASSES = (10, 43, 200, 1000)
MOVED = 0.5
"""How far the weights of a class are moved, in deviations of the weights."""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    data = load_data(args.data, args.cache)
    model = obtain_victim(BriefRecipe("resnet", None, 1), data, args.cache).model
    clean = draw_clean(data.pool)
    rows = []
    for classes in CLASSES:
        grown = with_classes(model, classes).requires_grad_(False)
        started = time.process_time()
        subject = gather_subject(grown, clean, clean.description, 0)
        scan = scan_model(subject, 0, Budget(), to_the_end=True)
        seconds = time.process_time() - started
        rows.append({"classes": classes, "cpu_seconds": round(seconds, 1)})
        print(rows[-1], scan.failed)
    write_json(rows, args.output)


def with_classes(model: nn.Module, classes: int) -> nn.Module:
    """Return a copy of a model whose last layer, `fc`, has other classes."""
    model = copy.deepcopy(model)
    before = model.fc
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(classes) % before.out_features
    model.fc = nn.Linear(before.in_features, classes)
    with torch.no_grad():
        noise = torch.randn(classes, before.in_features, generator=generator)
        model.fc.weight.copy_(before.weight[rows] + MOVED * before.weight.std() * noise)
        model.fc.bias.copy_(before.bias[rows])
    return model.eval()


if __name__ == "__main__":
    main()
