"""What an attacker comes to who has the model and its bundle, and adds a perturbation.

    python -m benchmarks.adaptive --data cifar10-jpg.zip --cache DIR --victims badnets-resnet ...

The perturbation is to pass below the detection threshold, or to survive the repair. Who has the
model can make an adversarial example without any trigger; that is measured beside it, since only
what the trigger adds is the backdoor's. A run that was interrupted goes on where it stopped.
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
    done = {row["victim"]: row["radii"] for row in results.rows}
    with tqdm(total=len(recipes) * len(RADII), desc="perturbations") as progress:
        for recipe in recipes:
            radii = dict(done.get(recipe.name, {}))
            missing = [radius for radius in RADII if str(radius) not in radii]
            progress.update(len(RADII) - len(missing))
            if not missing:
                continue
            attacked = obtain_attacked(recipe, data, args.cache)
            for radius in missing:
                radii[str(radius)] = measure_perturbed(attacked, radius)
                row = {"victim": recipe.name, "images": len(attacked.clean), "radii": radii}
                results.replace(recipe.name, [row])
                progress.update()


def measure_perturbed(attacked: Attacked, radius: int) -> dict[str, Any]:
    """Return what perturbations come to, with the trigger and without, for the results.

    Args:
        attacked: the victim; one layer of its bundle detects.
        radius: of 255.
    """
    model, bundle, wanted = attacked.model, attacked.bundle, attacked.held.wanted

    def found(images: Images, aims: Aims) -> Mapping[str, float]:
        generator = torch.Generator().manual_seed(SEED)
        return measure(model, bundle, perturb(aims, images, wanted, radius, generator), wanted)

    result: dict[str, Any] = {"adversarial": found(attacked.clean, be_called(model))}
    for name, aims in (
        ("unflagged", pass_unflagged(model, bundle)),
        ("repaired", survive_repair(model, bundle)),
    ):
        result[name] = {
            "with_trigger": found(attacked.held.triggered, aims),
            "without_trigger": found(attacked.clean, aims),
        }
    return result


if __name__ == "__main__":
    main()
