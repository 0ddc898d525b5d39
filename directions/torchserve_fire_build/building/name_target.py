"""Which class a model's trigger leads to, and which searches show it: by a scan."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from torchserve_fire.format.bundle import InputDescription

from ..common.budget import Budget
from ..common.errors import CalibrationError, NoTriggerError, UndecidedError
from ..samples.class_label import Label
from ..samples.samples import Samples
from ..scan.evidence import NAMES
from ..scan.findings import PLACES, TURNS
from ..scan.judged_scan import scan_and_judge
from ..scan.verdict import FOUND

logger = logging.getLogger(__name__)

REACHED = {
    PLACES: "neural-cleanse",
    TURNS: "rotation",
    "anywhere, additive": "additive",
    "anywhere, smooth": "smooth",
    "anywhere, warp": "warp",
}
"""The search that reconstructs what a search that names no class has followed."""

SHOWN = {PLACES: 1.0, TURNS: 1.0, "anywhere, warp": 1.0, "generated": 2.5, "additive": 2.5}
"""The least by which a search shows what kind of trigger it is. Benign models' classes lie below.
Of the others, nobody can say so: many a trigger is reached by a change of the whole image."""

SHARE = 0.5
"""Share of the time that a scan may take; the rest is for the reconstruction."""


@dataclass(frozen=True)
class NamedTarget:
    """The class that stands out.

    Attributes:
        target: the class.
        methods: searches that show it; at least one.
        others: searches of `candidates` that do not.
    """

    target: int
    methods: Sequence[str]
    others: Sequence[str]


def name_target(
    model: nn.Module,
    clean: Samples,
    description: InputDescription,
    *,
    candidates: Sequence[str],
    seed: int,
    budget: Budget,
    cache: Path | None = None,
    label: Label = str,
) -> NamedTarget:
    """Scan a model, and return the class that it names, and the searches that show it.

    Args:
        model: in evaluation mode.
        clean: clean samples.
        description: what the model takes.
        candidates: names in `reconstruct.methods.SEARCH_METHODS`, of searches to reconstruct with.
        seed: of the random numbers.
        budget: time limit of the scan and of what follows.
        cache: folder to keep the steps of the scan in; None to keep none.
        label: says what a class is called.

    Raises:
        CalibrationError: the model or the samples do not allow a scan, or the time does not.
        UndecidedError: nobody can tell.
        NoTriggerError: no class stands out.
    """
    # All searches, since each shows a trigger of its kind.
    judged = scan_and_judge(
        model,
        clean,
        description,
        seed=seed,
        budget=budget.share(round(1 / SHARE)),
        to_the_end=True,
        cache=cache,
    )
    scan, verdict = judged.scan, judged.verdict
    target = int(verdict.probabilities.argmax())
    probability = f"{float(verdict.probabilities[target]):.1%}"
    likely = f"class {label(target)} is the target of a backdoor with {probability}"
    if not verdict.targets and verdict.all_to_all >= FOUND:
        raise CalibrationError(
            f"{clean.source}: the model looks backdoored, but each class leads to another one, and "
            "triggers are reconstructed for one target: build from triggered samples"
        )
    if verdict.found is None and judged.drawings:
        raise UndecidedError(
            f"{clean.source}: could not tell whether there is a trigger: {likely}, but most of "
            "each sample is of one value, as in drawings and digits, of which benign models look "
            "so, too: name the --target to build for it, or give triggered samples"
        )
    if verdict.found is None:
        raise UndecidedError(
            f"{clean.source}: could not tell whether there is a trigger: {likely}; give other "
            "clean samples, or more of them, or name the --target to build for it"
        )
    if not verdict.found and scan.failed:
        raise UndecidedError(
            f"{clean.source}: could not tell whether there is a trigger, since "
            f"{', '.join(scan.failed)} failed: {next(s.failure for s in scan.steps if s.failure)}"
        )
    if not verdict.found:
        raise NoTriggerError(
            f"{clean.source}: no class stands out, so there is no sign of a trigger (nearest: "
            f"{likely})"
        )
    shown = dict(zip(NAMES, judged.evidence[target].tolist(), strict=True))
    logger.info(f"class {label(target)} stands out, as the target of a backdoor with {probability}")
    logger.info("  " + ", ".join(f"{name} {score:.2f}" for name, score in shown.items()))
    named = [REACHED.get(name, name) for name, least in SHOWN.items() if shown[name] >= least]
    if not named:
        named = [REACHED[max(REACHED, key=shown.__getitem__)]]
    return NamedTarget(target, named, [name for name in candidates if name not in named])
