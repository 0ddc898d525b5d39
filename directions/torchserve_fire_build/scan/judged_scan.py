"""From a model and clean samples to a verdict: a scan that is planned, run and judged."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from torchserve_fire.format.bundle import InputDescription

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..common.step_cache import NO_CACHE
from ..measure.anomaly_index import MIN_CLASSES
from ..reconstruct.subject import Subject, gather_subject
from ..samples.samples import Samples
from .drawings import are_drawings
from .evidence import evidence_of, followed_by
from .findings import Scan
from .other_classes import MIN_OTHERS, require_others
from .plan import Plan, plan_scan
from .scan_cache import scan_cache
from .scan_model import DoParts, scan_model
from .verdict import Verdict, judge

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JudgedScan:
    """A scan, and what follows from it.

    Attributes:
        subject: the model, and the clean inputs that it was scanned with.
        plan: what the scan was to cover.
        scan: what it found.
        evidence: of each class, (classes, len(evidence.NAMES)) float64.
        verdict: how likely a backdoor is; of drawings, nobody can tell.
        drawings: whether the clean inputs are such images (`drawings`).
    """

    subject: Subject
    plan: Plan
    scan: Scan
    evidence: Tensor
    verdict: Verdict
    drawings: bool


def scan_and_judge(
    model: nn.Module,
    clean: Samples,
    description: InputDescription,
    *,
    seed: int,
    budget: Budget,
    to_the_end: bool = False,
    cache: Path | None = None,
    elsewhere: DoParts | None = None,
) -> JudgedScan:
    """Scan a model within a time limit, and compute how likely a backdoor is.

    Args:
        model: in evaluation mode.
        clean: clean samples.
        description: what the model takes.
        seed: of the random numbers.
        budget: time limit.
        to_the_end: whether all searches run, even if a class is surely found before.
        cache: folder to keep finished steps in, so that a scan that was interrupted goes on from
            there; None to keep none.
        elsewhere: does the steps, without a time limit, and keeps them; None to do so here.

    Raises:
        CalibrationError: the model or the samples do not allow a scan, or the time does not.
    """
    subject = gather_subject(model, clean, description, seed)
    if subject.classes < MIN_CLASSES:
        raise CalibrationError(
            f"{type(model).__name__}: {subject.classes} classes, expected at least {MIN_CLASSES} "
            "to see whether one stands out: build and sanitize search for the trigger of a --target"
        )
    require_others(subject.predicted, MIN_OTHERS, clean.source, "samples")
    plan = plan_scan(subject, budget)
    logger.info(plan.in_words())
    scan = scan_model(
        subject,
        seed,
        budget,
        depth=plan.depth,
        to_the_end=to_the_end,
        cache=NO_CACHE if elsewhere is not None else scan_cache(cache, subject, seed),
        elsewhere=elsewhere,
    )
    evidence = evidence_of(scan)
    verdict = judge(evidence, len(subject.inputs), followed_by(scan))
    drawings = are_drawings(subject.inputs)
    if drawings:
        verdict = verdict.unmeasured()
    return JudgedScan(subject, plan, scan, evidence, verdict, drawings)
