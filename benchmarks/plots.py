"""Draw what each layer of the victims does: the picture that `build --report` makes.

    python -m benchmarks.plots --data cifar10-jpg.zip --cache DIR [--victims NAME ...]

Built from 200 pairs and measured on those of them that were held out, fold by fold; the test
images have no part in it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from torchserve_fire.errors import FireError
from torchserve_fire.format.write_file import write_file
from torchserve_fire_build.report.layers_picture import draw
from torchserve_fire_build.report.sweep import sweep

from . import fire
from .evidence import KINDS, draw_evidence
from .options import add_options, make_folder, named_victims
from .small_picture import with_palette
from .victims.data import load_data
from .victims.train import obtain_backdoored

PICTURES = Path(__file__).parent / "results" / "layers"


def main() -> None:
    """Draw the victims."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument(
        "--output", type=Path, default=PICTURES, help="folder (default: the committed pictures)"
    )
    args = parser.parse_args()
    recipes = named_victims(args.victims)
    make_folder(args.output)
    data = load_data(args.data, args.cache)
    for recipe in tqdm(recipes, desc="plots"):
        victim, attack = obtain_backdoored(recipe, data, args.cache)
        evidence = draw_evidence(KINDS[0], attack, data.pool, seed=0)
        try:
            records = fire.build(victim.model, evidence, 0).records
        except FireError as error:
            print(f"{recipe.name}: no picture: {error}")
            continue
        for each in records:
            of_several = f"-class_{each.target}" if len(records) > 1 else ""
            picture = draw(sweep(each), each.choice, recipe.name, str(each.target))
            write_file(with_palette(picture), args.output / f"{recipe.name}{of_several}.png")


if __name__ == "__main__":
    main()
