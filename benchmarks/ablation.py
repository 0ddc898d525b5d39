"""What each family of repairs buys: builds that may choose from fewer of them.

    python -m benchmarks.ablation --data cifar10-jpg.zip --cache DIR --victims bpp-vgg ...

Measured on the development images, on which no table of defences is made: which families there are
was decided there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from torchserve_fire.errors import FireError
from torchserve_fire_build.estimate.registry import LOCAL, REPAIRS, SHIFTS, TRANSPORTS

from . import fire
from .evidence import KINDS, draw_evidence
from .measure import hold, measure_baseline, measure_defence
from .options import parse_options
from .victims.catalogue import benign_twin
from .victims.data import load_data
from .victims.train import obtain_backdoored, obtain_victim

RESULTS = Path(__file__).parent / "results" / "ablation.json"
IMAGES = 1000
EVIDENCE = (KINDS[0], KINDS[3])
FAMILIES: Mapping[str, Collection[str]] = {
    "mean difference alone": ("mean_difference",),
    "mean shifts": tuple(SHIFTS),
    "mean shifts, local replacement": (*SHIFTS, *LOCAL),
    "mean shifts, affine transport": (*SHIFTS, *TRANSPORTS),
    "all": tuple(REPAIRS),
}


def main() -> None:
    """Measure the victims and write the results."""
    args, recipes, results = parse_options(__doc__.splitlines()[0], RESULTS)
    data = load_data(args.data, args.cache)
    images = data.development.at(torch.arange(IMAGES))
    steps = len(recipes) * len(EVIDENCE) * len(FAMILIES)
    with tqdm(total=steps, desc="ablation") as progress:
        for recipe in recipes:
            victim, attack = obtain_backdoored(recipe, data, args.cache)
            benign = obtain_victim(benign_twin(recipe), data, args.cache)
            held = hold(attack, images)
            of_victim = []
            baseline = asdict(measure_baseline(victim.model, benign.model, held))
            for kind in EVIDENCE:
                evidence = draw_evidence(kind, attack, data.pool, seed=0)
                for family, repairs in FAMILIES.items():
                    result: dict[str, Any] = {
                        "victim": recipe.name,
                        "baseline": baseline,
                        "evidence": kind.name,
                        "family": family,
                    }
                    try:
                        bundle = fire.build(victim.model, evidence, 0, repairs=repairs).bundle
                    except FireError as error:
                        result["refused"] = str(error)
                    else:
                        defence = fire.defend(victim.model, bundle)
                        result["figures"] = asdict(measure_defence(defence, held))
                    of_victim.append(result)
                    progress.update()
            results.replace(recipe.name, of_victim)


if __name__ == "__main__":
    main()
