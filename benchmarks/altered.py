"""What an attacker comes to who knows the trigger alone, and alters it.

    python -m benchmarks.altered --data cifar10-jpg.zip --cache DIR --victims badnets-resnet ...

Each victim is repaired by a bundle from pairs with the trigger as it is, and by a second one, which
was prepared: built from triggers so altered. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import Bundle

from . import fire
from .altered_triggers import ALTERED, stamp_altered
from .attacked import SEED, Attacked, measure, obtain_attacked
from .evidence import Evidence
from .measure import STAMP_SEED, predict
from .options import parse_options
from .victims.attacks.attack import Attack
from .victims.data import Images, load_data

RESULTS = Path(__file__).parent / "results" / "altered.json"


def main() -> None:
    """Measure the victims and write the results."""
    args, recipes, results = parse_options(__doc__.splitlines()[0], RESULTS)
    data = load_data(args.data, args.cache)
    done = {row["victim"] for row in results.rows}
    for recipe in tqdm(recipes, desc="altered triggers"):
        if recipe.name not in done:
            attacked = obtain_attacked(recipe, data, args.cache)
            results.replace(recipe.name, [{"victim": recipe.name, **measure_all(attacked)}])


def measure_all(attacked: Attacked) -> dict[str, Any]:
    """Return how the altered triggers fare, for the results."""
    clean = attacked.clean
    return {
        "images": len(clean),
        "clean": measure(attacked.model, attacked.bundle, clean, attacked.held.wanted),
        "altered": measure_altered(attacked, attacked.bundle),
        "prepared": measure_prepared(attacked),
    }


def measure_altered(attacked: Attacked, bundle: Bundle) -> dict[str, Mapping[str, float]]:
    """Return how images with each altered trigger fare with a bundle."""
    images = {
        name: stamp_altered(attacked.attack, attacked.clean, name, STAMP_SEED) for name in ALTERED
    }
    return {
        name: measure(attacked.model, bundle, each, attacked.held.wanted)
        for name, each in images.items()
    }


def measure_prepared(attacked: Attacked) -> dict[str, Any]:
    """Return how they fare with a bundle that was built from such, or why there is none."""
    evidence = alter_evidence(attacked.model, attacked.evidence, attacked.attack)
    try:
        bundle = fire.build(attacked.model, evidence, SEED).bundle
    except FireError as error:
        return {"refused": str(error)}
    return {"altered": measure_altered(attacked, bundle)}


def alter_evidence(model: nn.Module, evidence: Evidence, attack: Attack) -> Evidence:
    """Return pairs with altered triggers in turn; where the victim does not obey, as they were."""
    pixels = evidence.triggered.pixels.clone()
    obeyed = predict(model, evidence.triggered)
    for i, name in enumerate(ALTERED):
        altered = stamp_altered(attack, evidence.clean, name, SEED)
        works = predict(model, altered) == obeyed
        chosen = works & (torch.arange(len(pixels)) % len(ALTERED) == i)
        pixels[chosen] = altered.pixels[chosen]
    return replace(evidence, triggered=Images(pixels, evidence.triggered.labels))


if __name__ == "__main__":
    main()
