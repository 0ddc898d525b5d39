"""Each search for triggers by itself: whether it names the right class, and what that repairs.

    python -m benchmarks.searches --data cifar10-jpg.zip --cache DIR --victims wanet-vgg ...

`benchmarks.clean_only` measures what a build does that is left to choose, with the affordable
searches together; here each is given the same clean images, and DeepInspect none at all, too. The
benign twins are searched as well. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.reconstruct import deep_inspect
from torchserve_fire_build.reconstruct.inversion import recover_images
from torchserve_fire_build.reconstruct.methods import AFFORDABLE, SEARCH_METHODS
from torchserve_fire_build.samples.samples import Samples

from . import fire
from .first_bundle import SEED, build_first, draw_clean
from .kept import Kept
from .measure import Held, draw_test_images, hold, measure_baseline
from .options import parse_options
from .victims.catalogue import benign_twin, benign_twins
from .victims.data import load_data
from .victims.train import Victim, obtain_backdoored, obtain_victim

RESULTS = Path(__file__).parent / "results" / "searches.json"


@dataclass(frozen=True)
class Way:
    """A search, and what it is given.

    Attributes:
        method: a name in `reconstruct.methods.SEARCH_METHODS`.
        images: whether it is given clean images; without, they are recovered from the model.
    """

    method: str
    images: bool = True


WAYS = (
    *(Way(method) for method in SEARCH_METHODS if method not in AFFORDABLE),
    Way(deep_inspect.NAME, images=False),
    *(Way(method) for method in AFFORDABLE),
)
"""Last those that `benchmarks.clean_only` always uses together."""


def main() -> None:
    """Measure the victims and write the results."""
    args, recipes, results = parse_options(__doc__.splitlines()[0], RESULTS)
    data = load_data(args.data, args.cache)
    images, _ = draw_test_images(data)
    clean = draw_clean(data.pool)
    twins = benign_twins(recipes)
    with tqdm(total=(len(recipes) + len(twins)) * len(WAYS), desc="searches") as progress:
        for recipe in recipes:
            victim, attack = obtain_backdoored(recipe, data, args.cache)
            benign = obtain_victim(benign_twin(recipe), data, args.cache)
            held = hold(attack, images)
            baseline = asdict(measure_baseline(victim.model, benign.model, held))
            measure_missing(
                victim, clean, results, progress, held, baseline=baseline, target=victim.target
            )
        for recipe in twins:
            measure_missing(obtain_victim(recipe, data, args.cache), clean, results, progress, None)


def measure_missing(
    victim: Victim,
    clean: Samples,
    results: Kept,
    progress: tqdm[Any],
    held: Held | None,
    **facts: Any,
) -> None:
    """Measure what the results do not hold of a model yet.

    Args:
        victim: the model.
        clean: the images that searches are given.
        results: are written after each search.
        progress: takes a step for each search.
        held: what bundles are measured on; None for a benign model.
        facts: of the model, for its rows.
    """
    name = victim.recipe.name
    rows = [row for row in results.rows if row["victim"] == name]
    done = {Way(row["method"], row["images"]) for row in rows}
    for way in WAYS:
        if way not in done:
            rows.append(
                {"victim": name, **asdict(way), **facts, **measure(victim, clean, way, held)}
            )
            results.replace(name, rows)
        progress.update()


def measure(victim: Victim, clean: Samples, way: Way, held: Held | None) -> Mapping[str, Any]:
    """Return what a search came to, and what its bundle repairs, where there is one."""
    start = time.monotonic()
    if not way.images:
        clean = recover_images(
            victim.model,
            clean.description,
            generator=torch.Generator().manual_seed(SEED),
            budget=Budget(),
        )
    recovered = time.monotonic() - start
    first = build_first(victim.model, clean, [way.method], otherwise=())
    row = {**first.row, "seconds": round(first.row["seconds"] + recovered, 1)}
    if first.bundle is not None and held is not None:
        row |= fire.measure(victim.model, first.bundle, held)
    return row


if __name__ == "__main__":
    main()
