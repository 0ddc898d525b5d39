"""The triggers that calibration samples show: where each leads, and on which samples it works."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.errors import CalibrationError
from ..measure.figures import class_list
from ..measure.observation import Observation
from ..measure.target import TargetFinding, check_target
from ..samples.class_label import Label
from ..samples.folds import MIN_SAMPLES
from .build_options import BuildOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trigger:
    """A trigger that the samples show.

    Attributes:
        finding: the class that it leads to.
        use: the triggered samples to estimate from, (M,) bool: those on which the trigger works.
    """

    finding: TargetFinding
    use: Tensor


def find_triggers_in(observation: Observation, options: BuildOptions) -> list[Trigger]:
    """Find the classes that the triggers lead to, and the samples on which the triggers work.

    Raises:
        CalibrationError: the samples show no trigger, or too few of them do.
    """
    finding = _find_target(observation, options)
    logger.info("target: %s", _describe_target(finding, observation.label))
    findings = [finding]
    # The forms that move every input have one repair for all triggers.
    if finding.several and options.form == "gated":
        findings = [TargetFinding(target, single=True) for target in finding.several]
    return [Trigger(each, _use(observation, each)) for each in findings]


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
            "predicts clean ones, so they show no trigger of this model: are --clean and "
            "--triggered swapped? If they have one, name the --target"
        )
    return found


def _use(observation: Observation, finding: TargetFinding) -> Tensor:
    """Return the triggered samples to estimate from, (M,) bool.

    Raises:
        CalibrationError: the trigger works on fewer than `MIN_SAMPLES`.
    """
    predicted, target = observation.predictions.triggered, finding.target
    label = observation.label
    if not finding.single:
        return torch.ones_like(predicted, dtype=torch.bool)
    use = predicted == target
    count = int(use.sum())
    if count < MIN_SAMPLES:
        often = int(predicted.mode().values)
        more = "bring more samples on which the trigger works"
        if often != target:
            more = (
                f"{int((predicted == often).sum())} are predicted as class {label(often)}: give "
                f"another --target or leave it out, or {more}"
            )
        raise CalibrationError(
            f"{observation.evidence.triggered.source}: {count} of {len(use)} triggered samples are "
            f"predicted as class {label(target)}, expected at least {MIN_SAMPLES}; {more}"
        )
    logger.info("triggered samples predicted as class %s: %s of %s", label(target), count, len(use))
    return use


def _describe_target(finding: TargetFinding, label: Label) -> str:
    if finding.several:
        return f"{class_list(finding.several, label)}, each of a trigger of its own"
    return class_list([finding.target], label) + ("" if finding.single else ", and others")
