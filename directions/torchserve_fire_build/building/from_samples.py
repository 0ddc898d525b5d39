"""From clean and triggered samples to a bundle."""

from __future__ import annotations

import logging
import platform
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from torchserve_fire.errors import ModelError
from torchserve_fire.format.bundle import Bundle
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.model.state_digest import state_digest
from torchserve_fire.repair.layers import eager_model

from ..choose.build_record import BuildRecord
from ..choose.choice import Choice
from ..choose.held_out import hold_out
from ..choose.search import choose
from ..common.errors import CalibrationError
from ..estimate.candidate_layers import find_layers
from ..estimate.layer_statistics import collect_statistics
from ..measure.by_target import by_target
from ..measure.figures import Answers, Figures, measure
from ..measure.observation import Observation, observe
from ..measure.target import TargetFinding, check_target
from ..samples.both import Both
from ..samples.evidence import Evidence, gather_evidence
from ..samples.folds import FOLDS, MIN_OF_EACH, MIN_SAMPLES, assign_folds
from ..samples.kept import keep_decoded
from ..samples.samples import Samples
from .result import BuildResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildOptions:
    """What the user may decide; everything else is chosen on held-out samples.

    Attributes:
        layers: candidate layers; None to find them.
        target: the class that the trigger leads to; None to find it.
        form: one of `choose.choice.FORMS`.
        seed: of the random numbers.
        several: if there are several triggers with known targets, these targets.
        all_to_all: whether the triggered samples are known to lead to nearly every class. The
            predictions on unpaired samples without labels do not show this.
        repairs: names in `estimate.registry.REPAIRS` to choose from, to compare repairs; None for
            all.
    """

    layers: Sequence[str] | None = None
    target: int | None = None
    form: str = "gated"
    seed: int = 0
    several: tuple[int, ...] = ()
    all_to_all: bool = False
    repairs: Collection[str] | None = None


@dataclass(frozen=True)
class Trigger:
    """A trigger that the samples show.

    Attributes:
        finding: the class that it leads to.
        use: the triggered samples to estimate from, (M,) bool: those on which the trigger works.
    """

    finding: TargetFinding
    use: Tensor


def build_bundle(
    model: nn.Module | LoadedModel,
    clean: Samples,
    triggered: Samples,
    *,
    target: int | None = None,
    layers: Sequence[str] | None = None,
    form: str = "gated",
    seed: int = 0,
    names_file: Path | None = None,
) -> BuildResult:
    """Build a direction bundle from clean and triggered samples (FIRE, arXiv 2602.10780).

    Args:
        model: in evaluation mode.
        clean: clean samples; a hundred are enough.
        triggered: triggered samples; best are the clean samples with the trigger added.
        target: the class that the trigger leads to; None to find it.
        layers: names of candidate layers; None to find them.
        form: "gated" repairs what it detects; "shift" moves every input, as plain FIRE does;
            "clamp" clips every input to the clean range of a projection.
        seed: of the random numbers.
        names_file: TorchServe's `index_to_name.json`, if the folders have its names.

    Returns:
        The bundle, with what it was chosen from. It is not saved yet.

    Raises:
        SamplesError: the samples cannot be used.
        CalibrationError: the samples do not show a trigger, or no layer repairs it.
        AttachError: a named layer does not exist.
    """
    options = BuildOptions(layers, target, form, seed)
    evidence = gather_evidence(clean, triggered)
    return build_from_evidence(as_loaded(model), evidence, options, names_file)


def as_loaded(model: nn.Module | LoadedModel) -> LoadedModel:
    """Return a model as a `LoadedModel`; the file of its weights may be unknown."""
    if isinstance(model, LoadedModel):
        return model
    eager = eager_model(model)
    return LoadedModel(model, type(eager).__name__, None)


def build_from_evidence(
    loaded: LoadedModel,
    evidence: Evidence,
    options: BuildOptions,
    names_file: Path | None = None,
) -> BuildResult:
    """Observe, find the triggers, collect statistics, choose and assemble.

    Each step logs what it found, line by line.

    Args:
        loaded: the model.
        evidence: the calibration samples.
        options: what the user decided.
        names_file: TorchServe's `index_to_name.json`, if there is one.

    Raises:
        FireError: as `build_bundle`.
    """
    model = loaded.model
    generator = torch.Generator().manual_seed(options.seed)
    logger.info(evidence.describe())
    kept = evidence.both.map(keep_decoded)
    evidence = replace(evidence, clean=kept.clean, triggered=kept.triggered)
    example = evidence.clean.description.example()
    layers = find_layers(model, example, options.layers)
    observation = observe(model, evidence, names_file)
    _log_labels(observation)
    triggers = find_triggers_in(observation, options)
    groups = [trigger.use for trigger in triggers] if len(triggers) > 1 else []
    folds = assign_folds(evidence, generator, groups)
    predicted = observation.predictions.clean
    collected = collect_statistics(
        model,
        layers,
        evidence,
        folds,
        clean_targets=[predicted == trigger.finding.target for trigger in triggers],
        uses=[trigger.use for trigger in triggers],
    )
    records = []
    for trigger, statistics in zip(triggers, collected, strict=True):
        held_out = hold_out(
            observation,
            folds,
            generator=generator,
            # The repair of one trigger need not undo the other triggers.
            use=trigger.use if len(triggers) > 1 else None,
        )
        records.append(
            choose(
                model,
                statistics,
                layers,
                held_out,
                trigger.finding,
                form=options.form,
                repairs=options.repairs,
            )
        )
    return assemble(loaded, observation, triggers, records, options.seed)


def find_triggers_in(observation: Observation, options: BuildOptions) -> list[Trigger]:
    """Find the classes that the triggers lead to, and the samples on which the triggers work.

    Raises:
        CalibrationError: the samples show no trigger, or too few of them do.
    """
    finding = _find_target(observation, options)
    logger.info("target: %s", _describe_target(finding))
    findings = [finding]
    # The forms that move every input have one repair for all triggers.
    if finding.several and options.form == "gated":
        findings = [TargetFinding(target, single=True) for target in finding.several]
    least = MIN_SAMPLES if len(findings) == 1 else MIN_OF_EACH
    return [Trigger(each, _use(observation, each, least)) for each in findings]


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
            **by_target({target: each.to_json() for target, each in measured.items()}),
        },
        seed=seed,
        versions=_versions(),
    )
    return BuildResult(bundle, records, list(measured.values()))


def _log_labels(observation: Observation) -> None:
    """Log which labels are unknown: accuracy is then measured against the model's predictions."""
    labels = observation.labels
    needed = [labels.clean is None, labels.triggered is None and observation.evidence.paired]
    if not any(needed):
        return
    unknown = f"not used: {observation.unknown}"
    if not observation.unknown:
        groups = zip(("clean", "triggered"), labels, strict=True)
        unlabelled = " and ".join(name for name, own in groups if own is None)
        unknown = f"of the {unlabelled} samples none are known"
    logger.info("labels: %s; accuracy is agreement with the model's own predictions", unknown)


def _describe_target(finding: TargetFinding) -> str:
    if finding.several:
        classes = ", ".join(map(str, finding.several))
        return f"classes {classes}, each of a trigger of its own"
    return f"class {finding.target}" + ("" if finding.single else ", and others")


def _use(observation: Observation, finding: TargetFinding, least: int) -> Tensor:
    """Return the triggered samples to estimate from, (M,) bool.

    Raises:
        CalibrationError: the trigger works on fewer than `least`.
    """
    predicted, target = observation.predictions.triggered, finding.target
    if not finding.single:
        return torch.ones_like(predicted, dtype=torch.bool)
    use = predicted == target
    count = int(use.sum())
    if count < least:
        raise CalibrationError(
            f"{observation.evidence.triggered.source}: {count} of {len(use)} triggered samples are "
            f"predicted as class {target}, expected at least {least}"
        )
    logger.info("triggered samples predicted as class %s: %s of %s", target, count, len(use))
    return use


def _find_target(observation: Observation, options: BuildOptions) -> TargetFinding:
    target = options.target
    if options.several:
        return TargetFinding(options.several[0], single=False, several=options.several)
    if target is not None:
        check_target(target, observation.classes)
    found = observation.find_where_led()
    if target is not None:
        return TargetFinding(target, single=found is None or found.single)
    if found is None and options.all_to_all:
        most_often = int(observation.predictions.triggered.mode().values)
        return TargetFinding(most_often, single=False)
    if found is None:
        raise CalibrationError(
            f"{observation.evidence.triggered.source}: the model predicts these samples as it "
            "predicts clean ones, so they show no trigger of this model; if they have one, name "
            "the --target"
        )
    return found


def _figures(record: BuildRecord) -> Figures:
    choice, after = record.choice, record.choice.result.predictions
    answers = Both(
        *(
            Answers(group.predictions, predicted, flagged, group.reference)
            for group, predicted, flagged in zip(
                record.held_out,
                after,
                # Without a detector nothing is judged: every sample is moved.
                choice.flagged if choice.detector is not None else (None, None),
                strict=True,
            )
        )
    )
    partners_right = record.held_out.triggered.partners_right
    return measure(answers.clean, answers.triggered, record.target, partners_right)


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
    return {"python": platform.python_version()} | {name: version(name) for name in names}
