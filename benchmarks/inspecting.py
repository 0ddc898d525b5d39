"""What methods of the literature say of each victim and of its benign twin.

    python -m benchmarks.inspecting --data cifar10-jpg.zip --cache DIR --victims wanet-vgg ...

A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from torchserve_fire_build.inspection import neuron_inspect
from torchserve_fire_build.inspection.findings import Findings
from torchserve_fire_build.inspection.inspect_model import inspect_model
from torchserve_fire_build.reconstruct.methods import AFFORDABLE, OTHERWISE

from .first_bundle import SEED, draw_clean
from .options import parse_options
from .victims.catalogue import benign_twins
from .victims.data import load_data
from .victims.train import obtain_victim

METHODS = (*AFFORDABLE, neuron_inspect.NAME)
RESULTS = Path(__file__).parent / "results" / "inspecting.json"


def main() -> None:
    """Inspect the models and write the results."""
    args, recipes, results = parse_options(__doc__.splitlines()[0], RESULTS)
    data = load_data(args.data, args.cache)
    clean = draw_clean(data.pool)
    done = {row["victim"] for row in results.rows}
    for recipe in tqdm([*recipes, *benign_twins(recipes)], desc="inspecting"):
        if recipe.name in done:
            continue
        victim = obtain_victim(recipe, data, args.cache)
        verdict = inspect_model(victim.model, clean, methods=METHODS, seed=SEED)
        if not verdict.found:
            further = inspect_model(victim.model, clean, methods=OTHERWISE, seed=SEED)
            verdict = Findings([*verdict.runs, *further.runs])
        row = {"victim": recipe.name, "backdoored": recipe.attack is not None}
        results.replace(recipe.name, [{**row, "target": victim.target, **verdict.to_json()}])


if __name__ == "__main__":
    main()
