"""Building a direction bundle: from a model and samples to what repairs it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchserve_fire.format.bundle import Bundle, Layer
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.model.state_digest import state_digest

from ..choose.build_record import BuildRecord
from ..choose.choice import Choice
from ..choose.held_out import HeldOut, hold_out
from ..choose.search import Search
from ..common.errors import CalibrationError
from ..common.hooks import record_features
from ..common.progress import Progress
from ..estimate.candidate_layers import candidate_layers
from ..estimate.layer_statistics import collect_statistics
from ..estimate.registry import REPAIRS
from ..measure.by_target import by_target
from ..measure.figures import Figures, Observed, measure
from ..measure.observation import find_where_led, refuse_swapped
from ..measure.target import TargetFinding, check_target
from ..samples.class_index import ClassIndex, why_unknown
from ..samples.evidence import Evidence
from ..samples.folds import FOLDS, assign_folds
from ..samples.predict import logits_of, predict_logits
from ..samples.samples import Samples

MIN_TRIGGERED = 2 * FOLDS
MIN_OF_EACH = FOLDS
"""Of each of several triggers: fewer could not be dealt out to the folds."""


@dataclass(frozen=True)
class BuildOptions:
    """What a person may decide; the rest is chosen on held-out samples.

    Attributes:
        layers: candidate layers, or None to find them.
        target: the class that the trigger leads to, or None to find it.
        form: one of `choose.choice.FORMS`.
        seed: of the random numbers.
        several: the classes that triggers of their own lead to, where these are known.
        all_to_all: whether the triggered samples are known to lead to nearly every class, which the
            predictions on unpaired samples without labels do not show.
        repairs: names in `estimate.registry.REPAIRS` to choose from, to see what each is good for.
    """

    layers: list[str] | None = None
    target: int | None = None
    form: str = "gated"
    seed: int = 0
    several: tuple[int, ...] = ()
    all_to_all: bool = False
    repairs: Collection[str] = tuple(REPAIRS)


def build_bundle(
    loaded: LoadedModel,
    config: HandlerConfig,
    evidence: Evidence,
    *,
    options: BuildOptions,
    names_file: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
    examine: Callable[[BuildRecord], None] = lambda record: None,
) -> Bundle:
    """Estimate, choose and assemble a direction bundle.

    Args:
        loaded: the model.
        config: its input.
        evidence: the calibration samples.
        options: what is given.
        names_file: TorchServe's `index_to_name.json`, if there is one.
        tell: called with each thing that was found, as a line for a person.
        examine: called with what the choice was made from, after it was made; once for each target.

    Returns:
        The bundle; it is not saved yet.

    Raises:
        SamplesError: the samples cannot be used.
        CalibrationError: they do not show a trigger, or no layer repairs it.
        AttachError: a layer given in the options does not exist.
    """
    model = loaded.model
    generator = torch.Generator().manual_seed(options.seed)
    clean, triggered = evidence.clean, evidence.triggered
    tell(evidence.describe())
    described = clean.describe_input(config)
    example = described.example()

    classes = logits_of(model, example).shape[1]
    layers = _layers(loaded, options, example)
    with Progress("predicting", len(clean) + len(triggered)) as progress:
        clean_logits = predict_logits(model, clean, range(len(clean)), progress)
        triggered_logits = predict_logits(model, triggered, range(len(triggered)), progress)
    index = ClassIndex.find([clean, triggered], classes, names_file)
    labels = [None if index is None else index.labels(s) for s in (clean, triggered)]
    if labels[0] is None or (labels[1] is None and evidence.paired):
        unknown = f"not used: {why_unknown([clean, triggered], classes)}"
        if index is not None:
            pairs = zip(("clean", "triggered"), labels, strict=True)
            lack = " and ".join(name for name, own in pairs if own is None)
            unknown = f"of the {lack} samples none are known"
        tell(f"labels: {unknown}; accuracy is agreement with the model's own predictions")
    predictions = [clean_logits.argmax(1), triggered_logits.argmax(1)]
    refuse_swapped(evidence, labels, predictions)
    finding = _find_target(evidence, labels, predictions, classes, options)
    tell(f"target: {_describe_target(finding)}")
    findings = [finding]
    # Plain FIRE, which moves every input, has one repair for whatever triggers there are.
    if finding.several and options.form == "gated":
        findings = [TargetFinding(target, single=True) for target in finding.several]
    least = MIN_TRIGGERED if len(findings) == 1 else MIN_OF_EACH
    uses = [
        _use(triggered, predictions[1], each.target, least, tell) if each.single else None
        for each in findings
    ]

    groups = [use for use in uses if use is not None] if len(findings) > 1 else []
    folds = assign_folds(evidence, generator, groups)
    records = []
    for each, use in zip(findings, uses, strict=True):
        use = torch.ones(len(triggered), dtype=torch.bool) if use is None else use
        with Progress("collecting statistics", len(clean) + int(use.sum())) as progress:
            statistics = collect_statistics(
                model,
                layers,
                evidence,
                folds,
                clean_target=predictions[0] == each.target,
                use=use,
                progress=progress,
            )
        held_out = hold_out(
            evidence,
            folds,
            clean_logits=clean_logits,
            triggered_logits=triggered_logits,
            clean_labels=labels[0],
            triggered_labels=labels[1],
            generator=generator,
            # What another trigger does, this one's repair is not to undo.
            use=use if len(findings) > 1 else None,
        )
        choice = Search(
            model, statistics, layers, held_out, each, options.form, options.repairs
        ).run()
        records.append(BuildRecord(model, layers, statistics, held_out, each.target, choice))
    chosen: list[Layer] = []
    details: dict[int, dict[str, Any]] = {}
    measured: dict[int, dict[str, Any]] = {}
    for record, use in zip(records, uses, strict=True):
        choice, target = record.choice, record.target
        named = None if len(findings) == 1 else target
        chosen += [replace(x, target=named) for x in choice.layers(record.statistics)]
        figures = _figures(record.held_out, choice, target)
        if named is not None:
            tell(f"trigger of class {target}:")
        for line in _describe(choice, figures):
            tell(line)
        details[target] = {
            "triggered_as_target": None if use is None else int(use.sum()),
            "estimator": choice.repair.estimator,
            "detector": None if choice.detector is None else choice.detector[0],
        }
        measured[target] = figures.to_json()
        examine(record)
    return Bundle(
        layers=tuple(chosen),
        model_class=loaded.class_name,
        weights_sha256=loaded.weights_sha256,
        state_sha256=state_digest(model),
        input=described,
        target=findings[0].target,
        evidence={
            "clean": len(clean),
            "triggered": len(triggered),
            "paired": evidence.paired,
            "labels": labels[1] is not None,
            **({"reconstructed_triggers": len(set(evidence.origins))} if evidence.guessed else {}),
            **by_target(details),
        },
        held_out={"folds": FOLDS, **by_target(measured)},
        seed=options.seed,
        versions=_versions(),
    )


def _describe_target(finding: TargetFinding) -> str:
    if finding.several:
        classes = ", ".join(map(str, finding.several))
        return f"classes {classes}, each of a trigger of its own"
    return f"class {finding.target}" + ("" if finding.single else ", and others")


def _use(
    triggered: Samples, predicted: Tensor, target: int, least: int, tell: Callable[[str], None]
) -> Tensor:
    """Return which triggered samples to estimate from, (M,) bool: those on which the attack works.

    Raises:
        CalibrationError: there are fewer than `least`.
    """
    use = predicted == target
    if int(use.sum()) < least:
        raise CalibrationError(
            f"{triggered.source}: {int(use.sum())} of {len(use)} triggered samples are "
            f"predicted as class {target}, expected at least {least}"
        )
    tell(f"triggered samples predicted as class {target}: {int(use.sum())} of {len(use)}")
    return use


def _find_target(
    evidence: Evidence,
    labels: Sequence[Tensor | None],
    predictions: Sequence[Tensor],
    classes: int,
    options: BuildOptions,
) -> TargetFinding:
    given = options.target
    if options.several:
        return TargetFinding(options.several[0], single=False, several=options.several)
    if given is not None:
        check_target(given, classes)
    found = find_where_led(evidence, labels, predictions, classes)
    if given is not None:
        return TargetFinding(given, single=found is None or found.single)
    if found is None and options.all_to_all:
        return TargetFinding(int(predictions[1].mode().values), single=False)
    if found is None:
        raise CalibrationError(
            f"{evidence.triggered.source}: the model predicts these samples as it predicts clean "
            "ones, so they show no trigger of this model; if they do, name the --target"
        )
    return found


def _layers(loaded: LoadedModel, options: BuildOptions, example: Tensor) -> list[str]:
    if options.layers is None:
        return candidate_layers(loaded.model, example)
    rows: dict[str, list[int]] = {name: [] for name in options.layers}
    two = torch.cat([example, example])
    with record_features(loaded.model, list(rows), lambda n, f: rows[n].append(len(f))):
        logits_of(loaded.model, two)
    for name, seen in rows.items():
        if seen != [len(two)]:
            raise CalibrationError(
                f"--layers: layer {name!r} does not run once with one row of features per sample"
            )
    return list(rows)


def _figures(held_out: HeldOut, choice: Choice, target: int) -> Figures:
    clean, triggered, result = held_out.clean, held_out.triggered, choice.result
    return measure(
        Observed(clean.predictions, result.clean_predictions, choice.flagged[0], clean.reference),
        Observed(
            triggered.predictions,
            result.triggered_predictions,
            choice.flagged[1],
            triggered.reference,
        ),
        target,
        triggered.partners_right,
    )


def _describe(choice: Choice, figures: Figures) -> list[str]:
    repair = choice.repair
    lines = []
    if choice.detector is not None:
        lines.append(f"detects: {choice.detector[1]} ({choice.detector[0]})")
    lines.append(f"repairs: {repair.layer} ({repair.estimator}, strength {repair.strength:g})")
    return [*lines, "on held-out calibration samples:", *figures.table()]


def _versions() -> dict[str, str]:
    names = ("torchserve-fire", "torch", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
