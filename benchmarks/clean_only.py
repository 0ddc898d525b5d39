"""Repair with clean images alone: is the right class named, what does the bundle flag and repair.

    python -m benchmarks.clean_only --data cifar10-jpg.zip --cache DIR --victims wanet-vgg ...

The build is given clean images, and searches the model for its triggers; what it comes to is
measured on the attacker's, which the build never sees. Then the bundle is refined from what it
flags in a stream of requests, by nobody's labels. The benign twins are searched, too: nothing is to
be named there. A run that was interrupted goes on where it stopped; first bundles are kept in the
cache.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from . import fire
from .bootstrap import draw_stream, refine_on
from .first_bundle import draw_clean, obtain_first
from .measure import draw_test_images, hold, measure_baseline
from .options import parse_options
from .victims.catalogue import benign_twin, benign_twins
from .victims.data import load_data
from .victims.train import obtain_backdoored, obtain_victim

RESULTS = Path(__file__).parent / "results" / "clean_only.json"
SHARES = (0.01, 0.05, 0.2)
"""Of the requests in a stream: triggered ones."""


def main() -> None:
    """Measure the victims and write the results."""
    args, recipes, results = parse_options(__doc__.splitlines()[0], RESULTS)
    data = load_data(args.data, args.cache)
    images, stream = draw_test_images(data)
    clean = draw_clean(data.pool)
    twins = benign_twins(recipes)
    done = {row["victim"] for row in results.rows}
    with tqdm(total=len(recipes) + len(twins), desc="clean only") as progress:
        for recipe in recipes:
            if recipe.name not in done:
                victim, attack = obtain_backdoored(recipe, data, args.cache)
                benign = obtain_victim(benign_twin(recipe), data, args.cache)
                held = hold(attack, images)
                first = obtain_first(victim, clean, args.cache)
                row = {
                    "victim": recipe.name,
                    "baseline": asdict(measure_baseline(victim.model, benign.model, held)),
                    "target": victim.target,
                    **first.row,
                }
                if first.bundle is not None:
                    row |= fire.measure(victim.model, first.bundle, held)
                    row["refined"] = {
                        str(share): refine_on(
                            victim.model,
                            first.bundle,
                            clean,
                            draw_stream(attack, stream, share),
                            held,
                        )
                        for share in SHARES
                    }
                results.replace(recipe.name, [row])
            progress.update()
        for recipe in twins:
            if recipe.name not in done:
                first = obtain_first(obtain_victim(recipe, data, args.cache), clean, args.cache)
                results.replace(recipe.name, [{"victim": recipe.name, **first.row}])
            progress.update()


if __name__ == "__main__":
    main()
