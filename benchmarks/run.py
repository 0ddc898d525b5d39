"""Measure the repair and its rivals on backdoored victims that are trained here.

    python -m benchmarks.run --data cifar10-jpg.zip --cache DIR
    python -m benchmarks.run --data-set gtsrb --data gtsrb-32px.zip --cache DIR

Every victim of the data set (`benchmarks/victims/data_sets.py`) is trained, unless the cache holds
it. Each defence is built from calibration images that no victim was trained on, and measured on
test images that no defence saw. What came out is a JSON file for each victim, in the data set's
folder under `benchmarks/results/victims`. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from torchserve_fire.errors import FireError
from torchserve_fire_build.rivals.catalogue import RIVALS
from torchserve_fire_build.rivals.rival import RivalNotApplicable

from . import fire
from .evidence import KINDS, EvidenceKind, draw_evidence
from .granting import grant
from .kept import write_json
from .measure import Held, draw_test_images, hold, measure_baseline, measure_defence
from .options import add_options, make_folder, named_victims
from .victims.attacks.attack import Attack
from .victims.catalogue import benign_twin
from .victims.data import Data, load_data
from .victims.data_sets import CIFAR, DATA_SETS
from .victims.recipe import Recipe
from .victims.train import Victim, obtain_backdoored, obtain_victim

OURS = "torchserve-fire"
RIVAL_EVIDENCE = KINDS[0]
"""The most that the rivals which use triggered samples could ask for."""
RESULTS = Path(__file__).parent / "results" / "victims"


@dataclass(frozen=True)
class Step:
    """One thing to measure: a defence of a victim, built from some evidence."""

    defence: str
    evidence: EvidenceKind
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        """By which it is known in the results."""
        return self.defence, self.evidence.name, self.seed


def main() -> None:
    """Run what is missing in the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.set_defaults(victims=None)
    parser.add_argument(
        "--data-set",
        choices=DATA_SETS,
        default=CIFAR,
        help=f"whose victims to measure (default: {CIFAR})",
    )
    parser.add_argument(
        "--results",
        type=Path,
        help="folder, one file per victim; what it holds is not measured again (default: the "
        "committed results)",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="draws of the evidence (default: 0)"
    )
    parser.add_argument(
        "--defences",
        nargs="+",
        metavar="NAME",
        choices=(OURS, *RIVALS),
        default=(OURS, *RIVALS),
        help="what to measure (default: all)",
    )
    args = parser.parse_args()
    try:
        run(args)
    except KeyboardInterrupt:
        raise SystemExit("interrupted; the same command goes on where this one stopped") from None


def run(args: argparse.Namespace) -> None:
    """Measure what the results do not hold yet."""
    data_set = DATA_SETS[args.data_set]
    names = [recipe.name for recipe in data_set.victims]
    recipes = named_victims(args.victims or names, data_set.victims)
    folder = RESULTS / args.data_set if args.results is None else args.results
    make_folder(folder)
    data = load_data(args.data, args.cache)
    if data.classes != data_set.classes:
        raise SystemExit(
            f"--data {args.data}: {data.classes} classes, expected the {data_set.classes} of "
            f"--data-set {args.data_set}"
        )
    images, _ = draw_test_images(data)
    steps = [step for step in plan(args.seeds) if step.defence in args.defences]
    skipped = 0
    with tqdm(total=len(recipes) * (len(steps) + 1), desc="benchmark") as progress:
        for recipe in recipes:
            progress.set_postfix_str(recipe.name)
            victim, attack = obtain_backdoored(recipe, data, args.cache)
            benign = obtain_victim(benign_twin(recipe), data, args.cache)
            held = hold(attack, images)
            file = folder / f"{recipe.name}.json"
            results = open_results(file, recipe, data)
            if results["baseline"] is None:
                results["baseline"] = asdict(measure_baseline(victim.model, benign.model, held))
                results["weights_bytes"] = victim.weights_bytes
                write_json(results, file)
            progress.update()
            done = {(r["defence"], r["evidence"], r["seed"]) for r in results["runs"]}
            for step in steps:
                if step.key in done:
                    skipped += 1
                else:
                    results["runs"].append(measure_step(step, victim, attack, data, held))
                    write_json(results, file)
                progress.update()
    if skipped:
        print(f"{skipped} of {len(recipes) * len(steps)} figures were in {folder} already")


def plan(seeds: Sequence[int]) -> list[Step]:
    """Return what to measure on each victim."""
    ours = [Step(OURS, kind, seed) for seed in seeds for kind in KINDS]
    rivals = [Step(name, RIVAL_EVIDENCE, seed) for seed in seeds for name in RIVALS]
    return ours + rivals


def open_results(file: Path, recipe: Recipe, data: Data) -> dict[str, Any]:
    """Return a victim's results so far; those of another recipe or of other images are dropped."""
    digest = recipe.digest(data.digest)
    if file.exists():
        results: dict[str, Any] = json.loads(file.read_text())
        if results["digest"] == digest:
            return results
    return {
        "victim": recipe.name,
        "recipe": asdict(recipe) | {"schedule": asdict(recipe.schedule)},
        "digest": digest,
        "baseline": None,
        "runs": [],
    }


def measure_step(
    step: Step, victim: Victim, attack: Attack, data: Data, held: Held
) -> dict[str, Any]:
    """Build a defence and measure it; where it cannot be built, say why."""
    evidence = draw_evidence(step.evidence, attack, data.pool, step.seed)
    result: dict[str, Any] = {
        "defence": step.defence,
        "evidence": step.evidence.name,
        "seed": step.seed,
    }
    start = time.monotonic()
    try:
        if step.defence == OURS:
            bundle = fire.build(victim.model, evidence, step.seed).bundle
            result["bundle"] = fire.describe(bundle)
            defence = fire.defend(victim.model, bundle)
        else:
            generator = torch.Generator().manual_seed(step.seed)
            defence = RIVALS[step.defence](victim.model, grant(evidence, victim, data), generator)
    except RivalNotApplicable as error:
        return result | {"not_applicable": str(error)}
    except FireError as error:
        return result | {"refused": str(error)}
    result["build_seconds"] = round(time.monotonic() - start, 1)
    return result | {"figures": asdict(measure_defence(defence, held))}


if __name__ == "__main__":
    main()
