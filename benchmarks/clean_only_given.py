"""Repair with clean images alone, of victims that are given as files.

    python -m benchmarks.clean_only_given --cifar10 ZIP --gtsrb ZIP --cache DIR \
        [--published DIR] [--zoo DIR]

As `benchmarks.clean_only`, for models that were not trained here. They have no benign twin: what
could be recovered is what another victim of the same folder and data set reads in the triggered
images, the best one. Altered triggers are sent to the repaired model, too, as in
`benchmarks.altered`. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from . import fire
from .altered import judge
from .altered_victims import Subject, show_altered
from .first_bundle import VERSION, build_first, draw_clean
from .given_victims import GivenVictim, given_victims
from .kept import Kept
from .measure import best_reader, draw_test_images, hold, measure_baseline
from .victims.data import load_data
from .victims.data_sets import CIFAR, SIGNS

RESULTS = Path(__file__).parent / "results" / "clean_only_given.json"
ALTERED_IMAGES = 1000
"""Test images that altered triggers are put into."""


def main() -> None:
    """Measure the victims and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in (CIFAR, SIGNS):
        parser.add_argument(f"--{name}", type=Path, metavar="ZIP", help="images")
    parser.add_argument("--published", type=Path, help="folder of published victims")
    parser.add_argument("--zoo", type=Path, help="folder of the zoo")
    parser.add_argument("--cache", type=Path, required=True, help="folder of decoded images")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file")
    args = parser.parse_args()
    sources = {CIFAR: args.cifar10, SIGNS: args.gtsrb}
    images = {name: load_data(file, args.cache) for name, file in sources.items() if file}
    results = Kept(args.output)
    known = {row["victim"] for row in results.rows if row["version"] == VERSION}
    victims = list(given_victims(args.published, args.zoo, images))
    for victim in tqdm(victims, desc="clean only"):
        if victim.name in known:
            continue
        data = images[victim.data]
        test, _ = draw_test_images(data)
        held = hold(victim.attack, test)
        others = [other.model for other in _others(victim, victims)]
        best = best_reader(others, held.triggered)
        baseline = measure_baseline(victim.model, best, held)
        first = build_first(victim.model, draw_clean(data.pool))
        row = {
            "victim": victim.name,
            "version": VERSION,
            "baseline": asdict(baseline),
            "target": victim.attack.target,
            **first.row,
        }
        if first.bundle is not None:
            row |= fire.measure(victim.model, first.bundle, held)
            few = hold(victim.attack, test.at(torch.arange(min(ALTERED_IMAGES, len(test)))))
            subject = Subject(victim.model, others, victim.attack, data.pool, few)
            defence = fire.defend(victim.model, first.bundle)
            shown = show_altered(subject)
            row["triggers"] = {name: judge(subject, shown[name], defence) for name in shown}
        results.replace(victim.name, [row])


def _others(victim: GivenVictim, victims: Sequence[GivenVictim]) -> list[GivenVictim]:
    """Return the other victims of the same folder and data set.

    Raises:
        SystemExit: there is none.
    """
    folder = victim.name.partition("-")[0]
    alike = [v for v in victims if v.data == victim.data and v.name.startswith(f"{folder}-")]
    if len(alike) == 1:
        raise SystemExit(f"{victim.name}: expected a second victim of {victim.data} beside it")
    return [v for v in alike if v is not victim]


if __name__ == "__main__":
    main()
