"""From the files that an operator kept to a better bundle, compared with the old one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import Bundle

from ..archive_repair.held_out import LEAST, Halves, hold_out_for_proof
from ..building.from_quarantine import refine_bundle
from ..common.errors import SamplesError
from ..measure.evaluate import evaluate_samples
from ..measure.figures import Figures, interval
from ..pool.quarantine import MIN_TRIGGERED
from ..samples.evidence import gather_evidence
from ..samples.subset import unlabelled
from ..source.model_source import ModelSource
from .judge import open_flagged

logger = logging.getLogger(__name__)

LEAST_KEPT = MIN_TRIGGERED + LEAST
"""Files to build from, and to compare on."""

SEED = 0


@dataclass(frozen=True)
class Refined:
    """A new bundle, and how it compares with the old one.

    Attributes:
        bundle: the new one; not saved yet.
        comparison: JSON values: `rows`, for each figure its name, the shares of the `old` and the
            `new` bundle, their 95 % intervals, and on how many samples; `verdict`, a sentence;
            `worse`, whether a figure got worse by more than chance; and the `counts` of samples.
    """

    bundle: Bundle
    comparison: dict[str, Any]


def refine_from_kept(
    source: ModelSource, bundle: Bundle, clean: Path, folder: Path, names: Sequence[str]
) -> Refined:
    """Build a bundle from three quarters of the kept files, and compare it on the last quarter.

    Args:
        source: the model.
        bundle: the old bundle.
        clean: clean samples, as users give them; a quarter of them is held out, too.
        folder: where the kept files lie.
        names: of these files; what the model does not take is left out.

    Raises:
        NoTriggerError: the kept files show no trigger.
        FireError: there are too few, or they cannot be used.
    """
    samples = open_flagged(source, folder, names)
    good = []
    for i, name in enumerate(names):
        try:
            samples.load([i])
            good.append(i)
        except FireError as error:
            logger.warning("%s: left out: %s", name, error)
    if len(good) < LEAST_KEPT:
        raise SamplesError(
            f"{len(good)} kept files that the model takes, expected at least {LEAST_KEPT}: "
            f"{MIN_TRIGGERED} to build from, and {LEAST} to compare on"
        )
    halves = hold_out_for_proof(
        gather_evidence(source.open_samples(clean), unlabelled(samples, good)), SEED
    )
    built = refine_bundle(
        source.loaded, bundle, *halves.build, names_file=source.names_file, seed=SEED
    )
    old, new = (_measure(source, each, halves) for each in (bundle, built.bundle))
    rows = _rows(old, new)
    clean_held, kept_held = map(len, halves.proof)
    return Refined(
        built.bundle,
        {
            "rows": rows,
            "verdict": _in_words(rows),
            "worse": any(row["change"] == "worse" for row in rows),
            "counts": {
                "kept": len(good),
                "built_from": len(halves.build[1]),
                "held_out_kept": kept_held,
                "held_out_clean": clean_held,
            },
        },
    )


def _measure(source: ModelSource, bundle: Bundle, halves: Halves) -> Figures:
    return evaluate_samples(
        source.loaded.model,
        bundle,
        *halves.proof,
        names_file=source.names_file,
        unpaired=True,
        allow_other_weights=source.allow_other_weights or bundle.state_sha256 is None,
    ).figures


def _rows(old: Figures, new: Figures) -> list[dict[str, Any]]:
    clean, kept = new.counts
    agree = "agreement with the model on clean samples"
    rows = [
        _row(
            "kept files that are flagged",
            None if old.flagged is None else old.flagged[1],
            None if new.flagged is None else new.flagged[1],
            kept,
            more_is_better=True,
        ),
        _row(
            "kept files still called the target after repair",
            old.attack_success_rate[1],
            new.attack_success_rate[1],
            kept,
            more_is_better=False,
        ),
        _row(
            "clean samples that are flagged",
            None if old.flagged is None else old.flagged[0],
            None if new.flagged is None else new.flagged[0],
            clean,
            more_is_better=False,
        ),
        _row(
            agree if new.by_agreement else "clean accuracy",
            old.clean_accuracy[1],
            new.clean_accuracy[1],
            clean,
            more_is_better=True,
        ),
    ]
    return [row for row in rows if row is not None]


def _row(
    name: str, old: float | None, new: float | None, count: int, *, more_is_better: bool
) -> dict[str, Any] | None:
    """Return a figure of both bundles; None where they do not have it."""
    if old is None or new is None:
        return None
    within = interval(old, count), interval(new, count)
    change = "same"
    if within[0][1] < within[1][0] or within[1][1] < within[0][0]:
        change = "better" if (new > old) == more_is_better else "worse"
    return {
        "name": name,
        "old": old,
        "new": new,
        "old_interval": within[0],
        "new_interval": within[1],
        "count": count,
        "change": change,
    }


def _in_words(rows: Sequence[dict[str, Any]]) -> str:
    def named(change: str) -> str:
        return ", ".join(row["name"] for row in rows if row["change"] == change)

    better, worse = named("better"), named("worse")
    if worse and better:
        return f"The new bundle is worse in: {worse}. It is better in: {better}."
    if worse:
        return f"The new bundle is worse in: {worse}."
    if better:
        return f"The new bundle is better in: {better}."
    return "These samples show no difference beyond chance."
