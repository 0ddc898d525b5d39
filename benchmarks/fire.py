"""The repair of this project, as one of the defences that are measured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import Bundle, Repair
from torchserve_fire.format.bundle_file import save_bundle
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.building.from_samples import BuildOptions, build_bundle
from torchserve_fire_build.choose.build_record import BuildRecord
from torchserve_fire_build.estimate.registry import REPAIRS
from torchserve_fire_build.samples.evidence import Evidence as SampleEvidence
from torchserve_fire_build.samples.evidence import gather_evidence

from .evidence import Evidence
from .measure import Held, measure_defence
from .rivals.rival import Answers, Defence
from .samples import ImageSamples
from .victims.train import normalise

CONFIG = HandlerConfig(input="tensor")


def loaded(model: nn.Module) -> LoadedModel:
    """Return a victim as a build takes it: nobody hands over its weights' file."""
    return LoadedModel(model, type(model).__name__, "0" * 64)


def build(
    model: nn.Module,
    evidence: Evidence,
    seed: int,
    repairs: Collection[str] = tuple(REPAIRS),
    examine: Callable[[BuildRecord], None] = lambda record: None,
) -> Bundle:
    """Build a bundle for a victim from the evidence alone; nothing else is told."""
    return build_from(model, gather(evidence), seed, repairs, examine)


def gather(evidence: Evidence) -> SampleEvidence:
    """Return evidence as a build takes it."""
    count = len(evidence.clean)
    names = [f"{i}.png" for i in range(count)]
    # Names of their own say that these triggered images have no partners.
    others = [f"{count + i}.png" for i in range(len(evidence.triggered))]
    triggered = names[: len(evidence.triggered)] if evidence.paired else others
    return gather_evidence(
        ImageSamples(evidence.clean, "clean", names),
        ImageSamples(evidence.triggered, "triggered", triggered),
    )


def build_from(
    model: nn.Module,
    evidence: SampleEvidence,
    seed: int,
    repairs: Collection[str] = tuple(REPAIRS),
    examine: Callable[[BuildRecord], None] = lambda record: None,
    targets: Sequence[int] = (),
    all_to_all: bool = False,
) -> Bundle:
    """Build a bundle for a victim from evidence that was gathered in some other way.

    Args:
        model: the victim.
        evidence: the samples.
        seed: of the random numbers.
        repairs: to choose from.
        examine: called with what the choice was made from.
        targets: the classes that the triggers lead to; none where the build is to find them.
        all_to_all: whether they are known to lead to nearly every class.
    """
    return build_bundle(
        loaded(model),
        CONFIG,
        evidence,
        options=BuildOptions(
            seed=seed,
            repairs=repairs,
            target=targets[0] if len(targets) == 1 else None,
            several=tuple(targets) if len(targets) > 1 else (),
            all_to_all=all_to_all,
        ),
        examine=examine,
    )


def defend(model: nn.Module, bundle: Bundle) -> Defence:
    """Return the defence that a bundle is."""

    def answer(images: Tensor) -> Answers:
        inputs = normalise(images)
        with attach_layers(model, bundle.layers, inputs[:1], target=bundle.target) as handle:
            with torch.no_grad():
                predictions = model(inputs).argmax(1)
            flagged = handle.verdict.flagged
            passes = torch.ones(len(images)) + (flagged.float() if handle.passes == 2 else 0)
        return Answers(predictions, flagged, passes)

    return answer


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
    if len(bundle.repairs) > 1:
        built = bundle.evidence["targets"]
        parts = {str(r.target): _describe_repair(r, built[str(r.target)]) for r in bundle.repairs}
        return {"bytes": size, "targets": parts}
    (repair,) = bundle.repairs
    return {"bytes": size, "target": bundle.target, **_describe_repair(repair, bundle.evidence)}


def _describe_repair(repair: Repair, evidence: Mapping[str, Any]) -> dict[str, Any]:
    detection = repair.detecting_layer
    return {
        "detects": None if detection is None else detection.name,
        "detector": evidence["detector"],
        "repairs": [layer.name for layer in repair.repairing_layers],
        "estimator": evidence["estimator"],
        "strength": [
            layer.correction.strength for layer in repair.repairing_layers if layer.correction
        ],
    }
