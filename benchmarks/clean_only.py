"""Repair with clean images alone: is the right class named, what does the bundle tell and repair.

    python -m benchmarks.clean_only --data cifar10-jpg.zip --cache DIR --victims wanet-vgg ...

The build is given clean images, and searches the model for its triggers; what it comes to is
measured on the attacker's, which the build never sees. Then the bundle is refined from what it
flags in a stream of requests, by nobody's labels. The benign twins are searched, too: nothing is to
be named there. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from directions.budget import Budget
from directions.build import BuildOptions
from directions.build_reconstructed import build_reconstructed
from directions.errors import NoTriggerError
from directions.reconstruct.methods import AFFORDABLE
from handler.bundle import Bundle
from handler.errors import FireError

from . import fire
from .bootstrap import draw_stream, refine_on
from .measure import draw_test_images, hold, measure_baseline
from .options import parse_options
from .samples import ImageSamples, unlabelled
from .victims.catalogue import benign_twin
from .victims.data import Images, load_data
from .victims.train import obtain_backdoored, obtain_victim

RESULTS = Path(__file__).parent / "results" / "clean_only.json"
CLEAN = 500
SEED = 0
SHARES = (0.01, 0.05, 0.2)
"""Of the requests in a stream: triggered ones."""


def main() -> None:
    """Measure the victims and write the results."""
    args, recipes, results = parse_options(__doc__.splitlines()[0], RESULTS)
    data = load_data(args.data, args.cache)
    images, stream = draw_test_images(data)
    clean = draw_clean(data.pool)
    twins = {benign_twin(recipe).name: benign_twin(recipe) for recipe in recipes}
    done = {row["victim"] for row in results.rows}
    with tqdm(total=len(recipes) + len(twins), desc="clean only") as progress:
        for recipe in recipes:
            if recipe.name not in done:
                victim, attack = obtain_backdoored(recipe, data, args.cache)
                benign = obtain_victim(benign_twin(recipe), data, args.cache)
                held = hold(attack, images)
                built, bundle = build(victim.model, clean)
                row = {
                    "victim": recipe.name,
                    "baseline": asdict(measure_baseline(victim.model, benign.model, held)),
                    "target": victim.target,
                    **built,
                }
                if bundle is not None:
                    row |= fire.measure(victim.model, bundle, held)
                    row["refined"] = {
                        str(share): refine_on(
                            victim.model, bundle, clean, draw_stream(attack, stream, share), held
                        )
                        for share in SHARES
                    }
                results.replace(recipe.name, [row])
            progress.update()
        for name, recipe in twins.items():
            if name not in done:
                built, _ = build(obtain_victim(recipe, data, args.cache).model, clean)
                results.replace(name, [{"victim": name, **built}])
            progress.update()


def draw_clean(pool: Images) -> ImageSamples:
    """Return the clean images that builds are given, without their labels."""
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(SEED))
    return unlabelled(pool.at(order[:CLEAN]), "clean")


def build(model: nn.Module, clean: ImageSamples) -> tuple[dict[str, Any], Bundle | None]:
    """Build a bundle by all affordable methods, told nothing but clean images.

    Returns:
        The classes that were named, what was told and how long it took; and the bundle, or None
        where nothing was found or what was found cannot be repaired.
    """
    told: list[str] = []
    start, bundle, refused = time.monotonic(), None, {}
    try:
        bundle = build_reconstructed(
            fire.loaded(model),
            fire.CONFIG,
            clean,
            methods=AFFORDABLE,
            options=BuildOptions(seed=SEED),
            budget=Budget(),
            tell=told.append,
        )
    except NoTriggerError as error:
        told.append(str(error))
    except FireError as error:
        refused = {"refused": str(error)}
    named = [int(found[1]) for line in told if (found := re.match(r"class (\d+) stands out", line))]
    seconds = round(time.monotonic() - start, 1)
    row = {"named": list(dict.fromkeys(named)), "told": told, "seconds": seconds, **refused}
    return row, bundle


if __name__ == "__main__":
    main()
