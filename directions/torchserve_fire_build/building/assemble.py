"""Assembling a bundle from the chosen layers."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torchserve_fire.errors import ModelError
from torchserve_fire.format.bundle import Bundle
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.model.state_digest import state_digest

from ..common.installed import installed_version
from ..measure.by_target import by_target
from ..measure.memorised import find_memorised
from ..measure.observation import Observation
from ..samples.class_label import Label
from ..samples.folds import FOLDS
from .result import BuildResult
from .trigger_repairs import TriggerRepairs
from .triggers import Trigger

logger = logging.getLogger(__name__)


def assemble(
    loaded: LoadedModel,
    observation: Observation,
    triggers: Sequence[Trigger],
    repairs: Sequence[TriggerRepairs],
    seed: int,
) -> BuildResult:
    """Put the chosen layers, estimated from all samples, into a bundle.

    Args:
        loaded: the model.
        observation: the samples.
        triggers: the triggers that the samples show.
        repairs: of each trigger.
        seed: the seed of the build.
    """
    evidence, several = observation.evidence, len(triggers) > 1
    layers, details, measured = [], {}, {}
    for trigger, of_trigger in zip(triggers, repairs, strict=True):
        choice, target = of_trigger.record.choice, of_trigger.record.target
        layers += [
            replace(layer, target=target if several else None, repair=place)
            for place, option in enumerate(of_trigger.options)
            for layer in option.layers
        ]
        measured[target] = of_trigger
        if several:
            logger.info("trigger of class %s:", observation.label(target))
        for line in _lines(of_trigger, observation.label):
            logger.info(line)
        details[target] = {
            "triggered_as_target": int(trigger.use.sum()) if trigger.finding.single else None,
            "estimator": choice.repair.estimator,
            "detector": None if choice.detector is None else choice.detector[0],
            "repairs": list(of_trigger.kinds),
        }
    memorised = find_memorised(loaded.model, observation)
    if memorised is not None:
        logger.info(memorised.describe())
    bundle = Bundle(
        layers=tuple(layers),
        model_class=loaded.class_name,
        weights_sha256=loaded.weights_sha256,
        state_sha256=_state_digest(loaded),
        input=evidence.clean.description,
        target=triggers[0].finding.target,
        evidence={
            "clean": len(evidence.clean),
            "triggered": len(evidence.triggered),
            "paired": evidence.paired,
            "labels": observation.labels.triggered is not None,
            **({"reconstructed_triggers": len(set(evidence.origins))} if evidence.guessed else {}),
            **by_target(details),
        },
        held_out={
            "folds": FOLDS,
            **({} if memorised is None else {"memorised": memorised.to_json()}),
            **by_target({target: _to_json(each) for target, each in measured.items()}),
        },
        seed=seed,
        versions=_versions(),
    )
    return BuildResult(
        bundle,
        [each.record for each in repairs],
        [each.figures for each in repairs],
        label=observation.label,
    )


def _lines(repairs: TriggerRepairs, label: Label) -> list[str]:
    """Return what is repaired how, and what was measured; `label` says what a class is called."""
    first, *others = repairs.options
    lines = [*first.description]
    for option in others:
        lines += [f"else {line}" for line in option.description]
    lines += ["on the calibration samples, each held out in turn:", *repairs.figures.table(label)]
    if repairs.altered is not None:
        lines += ["with altered triggers that the model obeys:", *repairs.altered.table(label)]
    return lines


def _to_json(repairs: TriggerRepairs) -> dict[str, Any]:
    altered = {} if repairs.altered is None else {"altered": repairs.altered.to_json()}
    return repairs.figures.to_json() | altered


def _state_digest(loaded: LoadedModel) -> str | None:
    """Return the digest of the weights; None if only that of their file is available.

    Raises:
        ModelError: neither is available, so nothing would say which model the bundle is for.
    """
    try:
        return state_digest(loaded.model)
    except ModelError:
        if loaded.weights_sha256 is None:
            raise
        return None


def _versions() -> dict[str, str]:
    names = ("torchserve-fire", "torch", "numpy")
    installed = {name: installed_version(name) for name in names}
    return {"python": platform.python_version()} | installed
