"""The repair of this project, as one of the defences that are measured."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from torchserve_fire.format.bundle import Bundle, Repair
from torchserve_fire.format.bundle_file import save_bundle
from torchserve_fire_build.building.build_options import BuildOptions
from torchserve_fire_build.building.from_samples import as_loaded, build_from_evidence
from torchserve_fire_build.building.result import BuildResult
from torchserve_fire_build.building.trigger_repairs import FEATURES
from torchserve_fire_build.rivals import repaired
from torchserve_fire_build.rivals.rival import Defence
from torchserve_fire_build.samples.evidence import Evidence as SampleEvidence
from torchserve_fire_build.samples.evidence import gather_evidence

from .evidence import Evidence
from .measure import Held, measure_defence
from .samples import as_samples


def build(
    model: nn.Module,
    evidence: Evidence,
    seed: int,
    **options: Any,
) -> BuildResult:
    """Build a bundle for a victim from the evidence alone; nothing else is given.

    Args:
        model: the victim.
        evidence: clean and triggered images.
        seed: of the random numbers.
        options: further ones of `BuildOptions`.
    """
    return build_from(model, gather(evidence), BuildOptions(seed=seed, **options))


def gather(evidence: Evidence) -> SampleEvidence:
    """Return evidence as a build takes it."""
    return gather_evidence(*as_samples(evidence))


def build_from(model: nn.Module, evidence: SampleEvidence, options: BuildOptions) -> BuildResult:
    """Build a bundle for a victim from evidence that was gathered in some other way."""
    return build_from_evidence(as_loaded(model), evidence, options)


def defend(model: nn.Module, bundle: Bundle) -> Defence:
    """Return the defence that a bundle is; the model is not changed."""
    return repaired.defend(copy.deepcopy(model), bundle)


def measure(model: nn.Module, bundle: Bundle, held: Held) -> dict[str, Any]:
    """Return what was chosen for a bundle, and its figures, for the results."""
    figures = measure_defence(defend(model, bundle), held)
    return {"bundle": describe(bundle), "figures": asdict(figures)}


def describe(bundle: Bundle) -> dict[str, Any]:
    """Return what was chosen, and the size of the bundle's file, for the results."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bundle.safetensors"
        save_bundle(bundle, file)
        size = file.stat().st_size
    of_targets: dict[int | None, list[Repair]] = {}
    for repair in bundle.repairs:
        of_targets.setdefault(repair.target, []).append(repair)
    if len(of_targets) > 1:
        built = bundle.evidence["targets"]
        parts = {
            str(target): _describe_repairs(repairs, built[str(target)])
            for target, repairs in of_targets.items()
        }
        return {"bytes": size, "targets": parts}
    (repairs,) = of_targets.values()
    return {"bytes": size, "target": bundle.target, **_describe_repairs(repairs, bundle.evidence)}


def _describe_repairs(repairs: Sequence[Repair], evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the repair that was chosen for the trigger as it is, and name all of them."""
    names = list(evidence["repairs"])
    repair = repairs[names.index(FEATURES)]
    detection = repair.detecting_layer
    return {
        "kinds": names,
        "detects": None if detection is None else detection.name,
        "detector": evidence["detector"],
        "repairs": [layer.name for layer in repair.repairing_layers],
        "estimator": evidence["estimator"],
        "strength": [
            layer.correction.strength for layer in repair.repairing_layers if layer.correction
        ],
    }
