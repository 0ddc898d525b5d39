"""Repair with clean images alone: is the right class named, what does the bundle flag and repair.

    python -m benchmarks.clean_only --data cifar10-jpg.zip --cache DIR --victims wanet-vgg ...

The build is given clean images, and searches the model for its triggers; what it comes to is
measured on the attacker's, which the build never sees. Then the bundle is refined from what it
flags in a stream of requests, by nobody's labels. A run that was interrupted goes on where it
stopped; first bundles are kept in the cache. `benchmarks.scanning` says what is named on benign
models.
"""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from . import fire
from .baselines import baseline_of
from .bootstrap import draw_stream, refine_on
from .first_bundle import VERSION, draw_clean, obtain_first
from .measure import draw_test_images, hold
from .options import parse_options
from .victims.data import load_data
from .victims.train import obtain_backdoored

RESULTS = Path(__file__).parent / "results" / "clean_only.json"
SHARES = (0.01, 0.05, 0.2)
"""Of the requests in a stream: triggered ones."""


def main() -> None:
    """Measure the victims and write the results."""
    args, recipes, results = parse_options(__doc__.splitlines()[0], RESULTS)
    data = load_data(args.data, args.cache)
    images, stream = draw_test_images(data)
    clean = draw_clean(data.pool)
    known = {row["victim"] for row in results.rows if row.get("version") == VERSION}
    for recipe in tqdm(recipes, desc="clean only"):
        if recipe.name in known:
            continue
        victim, attack = obtain_backdoored(recipe, data, args.cache)
        held = hold(attack, images)
        baseline = baseline_of(recipe, victim, held, data, args.cache)
        first = obtain_first(victim, clean, args.cache)
        row = {
            "victim": recipe.name,
            "version": VERSION,
            "baseline": baseline,
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


if __name__ == "__main__":
    main()
