"""Repair with clean images alone: is the right class named, what does the bundle tell and repair.

    python -m benchmarks.clean_only --data cifar10-jpg.zip --cache DIR --victims wanet-vgg ...

The build is given clean images, and searches the model for its trigger; what it comes to is
measured on the attacker's, which the build never sees. The benign twins are searched, too: nothing
is to be named there. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from directions.budget import Budget
from directions.errors import NoTriggerError
from directions.reconstruct.find_triggers import find_triggers
from directions.reconstruct.methods import AFFORDABLE
from directions.reconstruct.reconstruction import Reconstruction
from directions.reconstruct.stamped_samples import stamp_samples
from handler.config import HandlerConfig
from handler.errors import FireError

from . import fire
from .measure import Held, draw_test_images, hold, measure_baseline, measure_defence
from .options import parse_options
from .samples import ImageSamples, unlabelled
from .victims.catalogue import benign_twin
from .victims.data import Images, load_data
from .victims.train import obtain_backdoored, obtain_victim

RESULTS = Path(__file__).parent / "results" / "clean_only.json"
CLEAN = 500
SEED = 0


def main() -> None:
    """Measure the victims and write the results."""
    args, recipes, results = parse_options(__doc__.splitlines()[0], RESULTS)
    data = load_data(args.data, args.cache)
    images = draw_test_images(data)
    clean = draw_clean(data.pool)
    twins = {benign_twin(recipe).name: benign_twin(recipe) for recipe in recipes}
    done = {row["victim"] for row in results.rows}
    with tqdm(total=len(recipes) + len(twins), desc="clean only") as progress:
        for recipe in recipes:
            if recipe.name not in done:
                victim, attack = obtain_backdoored(recipe, data, args.cache)
                benign = obtain_victim(benign_twin(recipe), data, args.cache)
                held = hold(attack, images)
                row = {
                    "victim": recipe.name,
                    "baseline": asdict(measure_baseline(victim.model, benign.model, held)),
                    "target": victim.target,
                    **measure(victim.model, clean, held),
                }
                results.replace(recipe.name, [row])
            progress.update()
        for name, recipe in twins.items():
            if name not in done:
                model = obtain_victim(recipe, data, args.cache).model
                results.replace(name, [{"victim": name, **measure(model, clean, None)}])
            progress.update()


def draw_clean(pool: Images) -> ImageSamples:
    """Return the clean images that builds are given, without their labels."""
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(SEED))
    return unlabelled(pool.at(order[:CLEAN]), "clean")


def search(model: nn.Module, clean: ImageSamples) -> list[Reconstruction]:
    """Search a model for its trigger by all affordable methods, told nothing but clean images.

    Raises:
        FireError: none is found.
    """
    return find_triggers(
        model,
        clean,
        clean.describe_input(HandlerConfig(input="tensor")),
        methods=AFFORDABLE,
        target=None,
        seed=SEED,
        budget=Budget(),
        tell=lambda line: None,
    )


def measure(model: nn.Module, clean: ImageSamples, held: Held | None) -> dict[str, Any]:
    """Search a model for its trigger, and measure what a bundle from that does.

    Args:
        model: the model.
        clean: clean images.
        held: what to measure on; None for a benign model, of which no bundle is built.
    """
    start = time.monotonic()
    try:
        found = search(model, clean)
    except NoTriggerError:
        return {"named": None, "search_seconds": round(time.monotonic() - start, 1)}
    result: dict[str, Any] = {
        "named": found[0].target,
        "search_seconds": round(time.monotonic() - start, 1),
        "reconstructed": [{"method": one.method, "success": one.success} for one in found],
    }
    if held is None:
        return result
    start = time.monotonic()
    try:
        bundle = fire.build_from(model, stamp_samples(clean, found), SEED, target=found[0].target)
    except FireError as error:
        return result | {"refused": str(error)}
    result["build_seconds"] = round(time.monotonic() - start, 1)
    figures = measure_defence(fire.defend(model, bundle), held)
    return result | {"bundle": fire.describe(bundle), "figures": asdict(figures)}


if __name__ == "__main__":
    main()
