"""What a victim and its benign twin answer without a repair: measured once, and kept."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .measure import Held, measure_baseline
from .victims.catalogue import benign_twin
from .victims.data import Data
from .victims.data_sets import CIFAR
from .victims.recipe import Recipe
from .victims.train import Victim, obtain_victim

RESULTS = Path(__file__).parent / "results" / "victims" / CIFAR
"""One file for each victim; see `benchmarks.run`."""


def baseline_of(
    recipe: Recipe, victim: Victim, held: Held, data: Data, cache: Path, results: Path = RESULTS
) -> dict[str, Any]:
    """Return a victim's baseline: from the results if they are of these images, else measured.

    To measure it, its benign twin is trained, unless the cache holds it.
    """
    file = results / f"{recipe.name}.json"
    if file.exists():
        known: dict[str, Any] = json.loads(file.read_text())
        if known["digest"] == recipe.digest(data.digest) and known["baseline"] is not None:
            baseline: dict[str, Any] = known["baseline"]
            return baseline
    benign = obtain_victim(benign_twin(recipe), data, cache)
    return asdict(measure_baseline(victim.model, benign.model, held))
