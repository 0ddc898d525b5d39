"""Assembling a bundle from the chosen layers."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from torchserve_fire.errors import ModelError
from torchserve_fire.format.bundle import Bundle
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.model.state_digest import state_digest

from ..choose.build_record import BuildRecord
from ..choose.choice import Choice
from ..common.installed import installed_version
from ..measure.by_target import by_target
from ..measure.figures import Answers, Figures, measure
from ..measure.memorised import find_memorised
from ..measure.observation import Observation
from ..samples.folds import FOLDS
from .result import BuildResult
from .triggers import Trigger

logger = logging.getLogger(__name__)


def assemble(
    loaded: LoadedModel,
    observation: Observation,
    triggers: Sequence[Trigger],
    records: Sequence[BuildRecord],
    seed: int,
) -> BuildResult:
    """Put the chosen layers, estimated from all samples, into a bundle.

    Args:
        loaded: the model.
        observation: the samples.
        triggers: the triggers that the samples show.
        records: the records of the choices, one for each trigger.
        seed: the seed of the build.
    """
    evidence, several = observation.evidence, len(triggers) > 1
    layers, details, measured = [], {}, {}
    for trigger, record in zip(triggers, records, strict=True):
        choice, target = record.choice, record.target
        layers += [
            replace(layer, target=target if several else None)
            for layer in choice.layers(record.statistics)
        ]
        measured[target] = figures = _figures(record)
        if several:
            logger.info("trigger of class %s:", target)
        for line in [*_describe(choice), "on held-out calibration samples:", *figures.table()]:
            logger.info(line)
        details[target] = {
            "triggered_as_target": int(trigger.use.sum()) if trigger.finding.single else None,
            "estimator": choice.repair.estimator,
            "detector": None if choice.detector is None else choice.detector[0],
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
            **by_target({target: each.to_json() for target, each in measured.items()}),
        },
        seed=seed,
        versions=_versions(),
    )
    return BuildResult(bundle, records, list(measured.values()))


def _figures(record: BuildRecord) -> Figures:
    """Return the figures of choices that were made without the samples they are measured on."""
    left_out, detector = record.left_out, record.choice.detector
    times = len(left_out.predictions.clean)

    def repeated(values: Tensor | None) -> Tensor | None:
        return None if values is None else values.repeat(times)

    clean, triggered = (
        Answers(
            group.predictions.repeat(times),
            predicted.flatten(),
            # Without a detector, every sample is moved and none is flagged.
            None if detector is None else flagged.flatten(),
            repeated(group.reference),
        )
        for group, predicted, flagged in zip(
            record.held_out, left_out.predictions, left_out.flagged, strict=True
        )
    )
    partners_right = repeated(record.held_out.triggered.partners_right)
    figures = measure(clean, triggered, record.target, partners_right)
    answered, attacked = figures.counts
    return replace(figures, counts=(answered // times, attacked // times))


def _describe(choice: Choice) -> list[str]:
    repair = choice.repair
    lines = []
    if choice.detector is not None:
        lines.append(f"detects: {choice.detector[1]} ({choice.detector[0]})")
    return [*lines, f"repairs: {repair.layer} ({repair.estimator}, strength {repair.strength:g})"]


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
