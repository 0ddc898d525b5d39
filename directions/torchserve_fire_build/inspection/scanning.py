"""Inspection by a scan: one probability for the model, and one for each class."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..common.budget import Budget
from ..reconstruct.subject import Subject
from ..samples.class_label import Label
from ..samples.samples import Samples
from ..scan.all_to_all import MIN_MEASURED, measurable
from ..scan.compare_classes import Comparison
from ..scan.evidence import NAMES
from ..scan.findings import FREELY, RESTARTS, STEPS, Scan
from ..scan.free_search import KINDS
from ..scan.judged_scan import scan_and_judge
from ..scan.scan_model import DoParts
from ..scan.verdict import FOUND, Verdict
from ..token_search.token_subject import takes_tokens
from .inspection import Inspection
from .reconstructions import picture_of
from .scanning_fields import scan_fields
from .scanning_tokens import scan_tokens

NAME = "scan"

FEW = 200
"""Clean samples below which more would make the answer surer."""

PAIRS_SHOWN = 12
"""The most classes whose ways are told."""

OF_DRAWINGS = (
    "most of each clean sample is of one value, as in drawings and digits: benign models of such "
    "images are led by patches and turns, too, so nobody can tell; a build from triggered samples, "
    "or for a --target that you suspect, needs no verdict"
)
PICTURED = "generated"
"""The search whose triggers are drawn."""


def scans_maps(clean: Samples) -> bool:
    """Whether a scan of these samples is one of maps, whose steps can be done elsewhere."""
    return clean.description.table is None and not takes_tokens(clean.description)


def scan_classes(
    model: nn.Module,
    clean: Samples,
    classes: int,
    generator: torch.Generator,
    budget: Budget,
    cache: Path | None = None,
    label: Label = str,
    elsewhere: DoParts | None = None,
) -> Inspection:
    """Look at all classes together, then at a few closely; put all of it into probabilities.

    It needs 50 clean samples, better 200, that are maps (C, H, W), rows of a table (see
    `scan_fields`) or texts (see `scan_tokens`). What it costs hardly depends on the number of
    classes. A scan that was interrupted goes on from the steps in the folder `cache`. Notes call
    the classes as `label` does. With `elsewhere`, the steps of a scan of maps are done there,
    without a time limit.
    See `inspection.inspection.Inspect`.

    Raises:
        CalibrationError: the model or the samples do not allow a scan, or the time does not.
    """
    if clean.description.table is not None:
        return scan_fields(model, clean, generator, budget, label)
    if budget.spent():
        return Inspection(NAME, notes=("the time was over before it began: raise the --budget",))
    if takes_tokens(clean.description):
        return scan_tokens(NAME, model, clean, generator, budget, label)
    judged = scan_and_judge(
        model,
        clean,
        clean.description,
        seed=generator.initial_seed(),
        budget=budget,
        cache=cache,
        elsewhere=elsewhere,
    )
    subject, scan, verdict = judged.subject, judged.scan, judged.verdict
    notes = [
        *_failures(scan),
        *_of_steps(scan, judged.evidence, label),
        *_of_all_to_all(subject, scan, verdict, label),
    ]
    if not (scan.places or scan.leads or scan.comparisons):
        # Then nothing stands out because nothing was looked at.
        return Inspection(NAME, notes=(*notes, "no search came to an end"))
    missing, backdoored = scan.failed, verdict.found
    if backdoored is False and missing:
        # What did not run has found nothing, whatever there is.
        backdoored = None
        notes.append(f"could tell only if nothing failed: {', '.join(missing)}")
    elif backdoored is None:
        notes.append(
            OF_DRAWINGS if judged.drawings else _what_would_tell(subject, judged.plan.depth)
        )
    return Inspection(
        NAME,
        threshold=FOUND,
        probabilities=verdict.probabilities,
        probability=verdict.probability,
        backdoored=backdoored,
        pictures=_pictures(subject, scan),
        pictured=[target for c in _pictured(scan) for target in c.targets] or None,
        notes=(f"{len(subject.inputs)} clean samples", *notes),
    )


def _failures(scan: Scan) -> list[str]:
    return [f"{step.name}: failed: {step.failure}" for step in scan.steps if step.failure]


def _of_steps(scan: Scan, evidence: Tensor, label: Label) -> list[str]:
    """Return a line on what each step found."""
    seconds = {step.name: step.seconds for step in scan.steps if not step.failure}
    taken = {comparison.method: comparison.steps for comparison in scan.comparisons}
    whole = dict(STEPS)
    for kind in FREELY:
        name = f"anywhere, {kind}"
        taken[name] = sum(lead.steps for lead in scan.leads if lead.kind == kind)
        whole[name] = RESTARTS * KINDS[kind].steps
    lines = []
    for name, scores in zip(NAMES, evidence.T, strict=True):
        if name not in seconds:
            continue
        highest = int(scores.argmax())
        found = (
            f"class {label(highest)} stands out most, by {float(scores[highest]):.2f}"
            if float(scores[highest]) >= 0.005
            else "no class stands out"
        )
        shortened = (
            f", {taken[name]} of {whole[name]} steps"
            if name in whole and taken[name] < whole[name]
            else ""
        )
        lines.append(f"{name}: {found} ({seconds[name]:.0f} s{shortened})")
    return lines


def _of_all_to_all(subject: Subject, scan: Scan, verdict: Verdict, label: Label) -> list[str]:
    """Return a line on whether each class is led to another one."""
    if not measurable(subject.predicted):
        return [
            "all to all: not looked for, since too few classes have several of the clean samples: "
            f"{2 * MIN_MEASURED} samples of classes that have two or more would do"
        ]
    if not scan.all_to_all:
        return []
    best = max(scan.all_to_all, key=lambda found: found.followed)
    line = (
        f"all to all: {best.followed:.0%} of inputs follow a change that leads each class to "
        f"another one; the probability of such a backdoor is {verdict.all_to_all:.1%}"
    )
    if verdict.all_to_all >= FOUND:
        shown = sorted(best.targets.items())[:PAIRS_SHOWN]
        pairs = ", ".join(f"{label(a)} to {label(b)}" for a, b in shown)
        line += f": {pairs}{', ...' if len(best.targets) > PAIRS_SHOWN else ''}"
    return [line]


def _what_would_tell(subject: Subject, depth: float) -> str:
    """Return a line that says what could make the answer surer."""
    if depth < 1:
        return "a scan with all of its steps could tell: raise the --budget"
    if len(subject.inputs) < FEW:
        return f"more clean samples could tell: {len(subject.inputs)} were given, try {FEW}"
    return (
        "other clean samples, or another --seed, could tell; a build from triggered samples or "
        "screen needs no verdict"
    )


def _pictured(scan: Scan) -> list[Comparison]:
    """Return the comparison whose triggers are drawn; none if it failed."""
    return [comparison for comparison in scan.comparisons if comparison.method == PICTURED]


def _pictures(subject: Subject, scan: Scan) -> Tensor | None:
    """Return pictures of the classes' triggers, (targets, C, 3 H, W); None if their search failed.

    Only classes that were searched have one: pictures of a thousand classes would take gigabytes.
    """
    drawn = [
        picture_of(subject, target, stamped)
        for comparison in _pictured(scan)
        for target, stamped in zip(comparison.targets, comparison.stamped, strict=True)
    ]
    return torch.stack(drawn) if drawn else None
