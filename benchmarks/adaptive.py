"""What an attacker comes to who has the model and its bundle, and adds a perturbation.

    python -m benchmarks.adaptive --data cifar10-jpg.zip --cache DIR --victims badnets-resnet ...

The perturbation is to pass below the telling threshold, or to survive the repair. Who has the model
can make an adversarial example without any trigger; that is measured beside it, since only what the
trigger adds is the backdoor's. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from .attacked import SEED, Attacked, measure, obtain_attacked
from .options import parse_options
from .perturb import Aims, be_called, pass_unflagged, perturb, survive_repair
from .victims.data import Images, load_data

RESULTS = Path(__file__).parent / "results" / "adaptive.json"
RADII = (2, 4, 8)
"""Of 255: by how much a perturbation may change each pixel value."""


def main() -> None:
    """Measure the victims and write the results."""
    args, recipes, results = parse_options(__doc__.splitlines()[0], RESULTS)
    data = load_data(args.data, args.cache)
    done = {row["victim"] for row in results.rows}
    for recipe in recipes:
        if recipe.name not in done:
            row = measure_perturbed(obtain_attacked(recipe, data, args.cache), recipe.name)
            results.replace(recipe.name, [{"victim": recipe.name, **row}])


def measure_perturbed(attacked: Attacked, title: str) -> dict[str, Any]:
    """Return what perturbations come to, with the trigger and without, for the results.

    Args:
        attacked: the victim; one layer of its bundle tells.
        title: of the progress.
    """
    model, bundle, held = attacked.model, attacked.bundle, attacked.held
    aims = {
        "unflagged": pass_unflagged(model, bundle),
        "repaired": survive_repair(model, bundle),
    }
    clean = attacked.clean
    row: dict[str, Any] = {
        "images": len(clean),
        "adversarial": {},
        "perturbed": {name: {} for name in aims},
    }
    with tqdm(total=len(RADII) * (1 + 2 * len(aims)), desc=title) as progress:

        def found(images: Images, aims: Aims, radius: int) -> Mapping[str, float]:
            generator = torch.Generator().manual_seed(SEED)
            perturbed = perturb(aims, images, held.wanted, radius, generator)
            progress.update()
            return measure(model, bundle, perturbed, held.wanted)

        for radius in RADII:
            row["adversarial"][str(radius)] = found(clean, be_called(model), radius)
            for name, each in aims.items():
                row["perturbed"][name][str(radius)] = {
                    "with_trigger": found(held.triggered, each, radius),
                    "without_trigger": found(clean, each, radius),
                }
    return row


if __name__ == "__main__":
    main()
