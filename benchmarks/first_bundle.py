"""The first bundle of a victim: built of clean images alone, and kept, since it takes minutes."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import Bundle
from torchserve_fire.format.bundle_file import load_bundle, save_bundle
from torchserve_fire_build.building.from_clean import build_from_clean
from torchserve_fire_build.building.search_plan import SearchPlan
from torchserve_fire_build.common.errors import NoTriggerError
from torchserve_fire_build.reconstruct.methods import AFFORDABLE, OTHERWISE
from torchserve_fire_build.samples.samples import Samples

from .kept import read_results, write_json
from .logged import logged_lines
from .samples import ImageSamples, without_labels
from .victims.data import Images
from .victims.train import Victim

CLEAN = 500
SEED = 0
VERSION = 6
"""Raised whenever the same model and images would come to another bundle."""


@dataclass(frozen=True)
class First:
    """What a build from clean images alone came to.

    Attributes:
        row: for the results: the classes that were `named`, what was `logged`, how many `seconds`
            it took, and why it was `refused` where nothing that was found can be repaired.
        bundle: None where nothing was found, or it was refused.
    """

    row: Mapping[str, Any]
    bundle: Bundle | None


def draw_clean(pool: Images) -> ImageSamples:
    """Return the clean images that builds are given, without their labels."""
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(SEED))
    return without_labels(pool.at(order[:CLEAN]), "clean")


def obtain_first(victim: Victim, clean: ImageSamples, cache: Path) -> First:
    """Return what a build comes to: from the cache, else built now and kept there."""
    name = f"first-{victim.recipe.name}-{_digest(victim, clean)}"
    row, bundle = cache / f"{name}.json", cache / f"{name}.safetensors"
    if not row.exists():
        bundle.unlink(missing_ok=True)  # Of a build that was interrupted.
        first = build_first(victim.model, clean)
        if first.bundle is not None:
            save_bundle(first.bundle, bundle)
        write_json(first.row, row)
    return First(read_results(row), load_bundle(bundle) if bundle.exists() else None)


def _digest(victim: Victim, clean: ImageSamples) -> str:
    """Return a hash of what a build is given, for the cache."""
    settings = {"version": VERSION, "seed": SEED, "methods": sorted((*AFFORDABLE, *OTHERWISE))}
    digest = hashlib.sha256(json.dumps(settings).encode())
    digest.update(victim.weights_sha256.encode())
    digest.update(clean.load(range(len(clean))).numpy().tobytes())
    return digest.hexdigest()[:16]


def build_first(
    model: nn.Module,
    clean: Samples,
    methods: Sequence[str] = AFFORDABLE,
    otherwise: Sequence[str] = OTHERWISE,
) -> First:
    """Search a model for its triggers, and build a bundle from what was found.

    Args:
        model: in evaluation mode.
        clean: all that the build is given.
        methods: names in `reconstruct.methods.SEARCH_METHODS`.
        otherwise: likewise, of those that are used where no class stands out by `methods`.

    Returns:
        As `obtain_first`, but not kept.
    """
    start, bundle, refused = time.monotonic(), None, {}
    with logged_lines() as logged:
        try:
            plan = SearchPlan(methods, otherwise)
            bundle = build_from_clean(model, clean, plan=plan, seed=SEED).bundle
        except NoTriggerError as error:
            logged.append(str(error))
        except FireError as error:
            refused = {"refused": str(error)}
    found = (re.match(r"class (\d+) stands out", line) for line in logged)
    named = [int(match[1]) for match in found if match]
    seconds = round(time.monotonic() - start, 1)
    row = {"named": list(dict.fromkeys(named)), "logged": logged, "seconds": seconds, **refused}
    return First(row, bundle)
