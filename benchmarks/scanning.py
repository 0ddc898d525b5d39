"""What the default of `inspect` says of victims and of benign models, over several draws.

    python -m benchmarks.scanning --cifar10 ZIP --gtsrb ZIP --tiny-imagenet ZIP --cache DIR \
        [--published DIR] [--zoo DIR] [--draws 200:0 50:1 500:2] [--trained]
    python -m benchmarks.scanning --unseen --cifar10 ZIP --cache DIR
    python -m benchmarks.scanning --fit

The first form scans models, and adds rows to the committed results; a run that was interrupted goes
on where it stopped. The second form does so with victims that were trained once all was made; they
have results of their own, and are judged as `inspect` judges. The third form fits what a verdict is
computed by to the rows of the first one, and judges each model by a fit to the others.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.reconstruct.subject import gather_subject
from torchserve_fire_build.scan.place_search import Placed
from torchserve_fire_build.scan.scan_model import scan_model

from .given_victims import given_victims
from .kept import Kept
from .measure import hold, predict, share
from .samples import without_labels
from .scanning_fit import fit_and_write
from .victims.attacks.attack import Attack
from .victims.catalogue import VICTIMS
from .victims.data import Data, load_data
from .victims.data_sets import CIFAR, SIGNS, TINY
from .victims.recipe import Recipe
from .victims.scanned import SCANNED, UNSEEN
from .victims.train import obtain_victim, victim_file

RESULTS = Path(__file__).parent / "results" / "scanning.json"
PICTURE = Path(__file__).resolve().parents[1] / "docs" / "scanning-roc.png"
UNSEEN_RESULTS = RESULTS.with_name("scanning_unseen.json")
VERDICTS = RESULTS.with_name("scanning_verdicts.json")

LEAST_SUCCESS = 0.5
"""Share of triggered images that must be led where the attacker wants them, else the model is no
victim."""

TRIED = 500
"""Test images that this is tried on."""

TARGETS = {"two_triggers": [0, 1], "badnets_all_to_all": None}
"""Targets of attacks with several; None for one each."""


@dataclass(frozen=True)
class Scanned:
    """A model to scan.

    Attributes:
        name: how results call it.
        data: name of its data set.
        model: in evaluation mode.
        backdoored: whether it is a victim.
        targets: of its triggers; None where each class leads to another one.
    """

    name: str
    data: str
    model: nn.Module
    backdoored: bool
    targets: list[int] | None


def main() -> None:
    """Scan models, or fit the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in (CIFAR, SIGNS, TINY):
        parser.add_argument(f"--{name}", type=Path, metavar="ZIP", help="images")
    parser.add_argument("--published", type=Path, help="folder of published victims")
    parser.add_argument("--zoo", type=Path, help="folder of the zoo")
    parser.add_argument("--cache", type=Path, help="folder of decoded images and trained models")
    parser.add_argument("--draws", nargs="+", default=["200:0", "50:1", "500:2"], metavar="N:SEED")
    parser.add_argument("--trained", action="store_true", help="only models that the cache holds")
    parser.add_argument("--unseen", action="store_true", help="only victims trained later")
    parser.add_argument("--output", type=Path, help="file (default: the committed results)")
    parser.add_argument("--fit", action="store_true")
    args = parser.parse_args()
    results = Kept(args.output or (UNSEEN_RESULTS if args.unseen else RESULTS))
    if args.fit:
        fit_and_write(results.rows, VERDICTS, PICTURE)
        return
    if args.cache is None:
        parser.error("--cache: expected a folder")
    sources = {CIFAR: args.cifar10, SIGNS: args.gtsrb, TINY: args.tiny_imagenet}
    images = {name: load_data(file, args.cache) for name, file in sources.items() if file}
    draws = [tuple(map(int, draw.split(":"))) for draw in args.draws]
    for scanned in tqdm(_models(args, images), desc="scanning"):
        rows = [row for row in results.rows if row["victim"] == scanned.name]
        done = {(row["count"], row["seed"]) for row in rows}
        for count, seed in draws:
            if (count, seed) not in done:
                rows.append(_scan(scanned, images[scanned.data], count, seed))
                results.replace(scanned.name, rows)


def _models(args: argparse.Namespace, images: dict[str, Data]) -> Iterator[Scanned]:
    """Yield the models whose images are given."""
    for name, data in images.items():
        recipes: list[Recipe] = [*SCANNED[name], *(VICTIMS if name == CIFAR else ())]
        if args.unseen:
            recipes = [*UNSEEN.get(name, ())]
        for recipe in recipes:
            if args.trained and not victim_file(recipe, data, args.cache).exists():
                continue
            victim = obtain_victim(recipe, data, args.cache)
            if victim.attack is None:
                yield Scanned(f"{name}/{recipe.name}", name, victim.model, False, [])
            elif _works(victim.model, victim.attack, data):
                targets = TARGETS.get(recipe.attack or "", [0])
                yield Scanned(f"{name}/{recipe.name}", name, victim.model, True, targets)
    for given in given_victims(args.published, args.zoo, images):
        name = f"{given.data}/{given.name}"
        yield Scanned(name, given.data, given.model, True, [given.attack.target])


def _works(model: nn.Module, attack: Attack, data: Data) -> bool:
    """Return whether a model learned the backdoor: a trigger that does nothing is none."""
    images = data.test.at(torch.arange(0, len(data.test), len(data.test) // TRIED))
    held = hold(attack, images)
    return share(predict(model, held.triggered) == held.wanted) >= LEAST_SUCCESS


def _scan(scanned: Scanned, data: Data, count: int, seed: int) -> dict[str, Any]:
    """Return the row of one scan: with all that a verdict is computed from."""
    order = torch.randperm(len(data.pool), generator=torch.Generator().manual_seed(seed))
    clean = without_labels(data.pool.at(order[:count]), "clean")
    started = time.process_time()
    subject = gather_subject(scanned.model.requires_grad_(False), clean, clean.description, seed)
    scan = scan_model(subject, seed, Budget(), to_the_end=True)
    return {
        "victim": scanned.name,
        "data": scanned.data,
        "backdoored": scanned.backdoored,
        "targets": scanned.targets,
        "classes": scan.classes,
        "count": count,
        "seed": seed,
        "cpu_seconds": round(time.process_time() - started, 1),
        "places": _by_target(scan.places),
        "turned": [[each.degrees, each.target, round(each.success, 4)] for each in scan.turned],
        "leads": [[lead.kind, lead.target, round(lead.success, 4)] for lead in scan.leads],
        "comparisons": {
            comparison.method: {
                "targets": list(comparison.targets),
                "steps": comparison.steps,
                "effort": _rounded(comparison.effort),
                "success": _rounded(comparison.success),
            }
            for comparison in scan.comparisons
        },
        "all_to_all": [[each.kind, round(each.followed, 4)] for each in scan.all_to_all],
        "failures": {step.name: step.failure for step in scan.steps if step.failure},
    }


def _rounded(numbers: Tensor) -> list[float]:
    return [round(number, 4) for number in numbers.tolist()]


def _by_target(places: Sequence[Placed]) -> dict[str, list[float]]:
    """Return the shares that places led to each class, the largest first."""
    shares: defaultdict[str, list[float]] = defaultdict(list)
    for placed in sorted(places, key=lambda placed: -placed.success):
        shares[str(placed.target)].append(round(placed.success, 4))
    return shares


if __name__ == "__main__":
    main()
