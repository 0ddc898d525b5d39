"""Clean samples that show the trigger: they were put into the wrong folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from ..estimate.overlay import estimate_unpaired_overlay
from ..measure.observation import Observation
from ..samples.both import Both
from ..samples.subset import Subset
from .stamp_clean import FITTED
from .triggers import Trigger

logger = logging.getLogger(__name__)

SHOWN = 0.5
"""Strength of the trigger from which a sample shows it; 0 is clean, 1 as in the triggered ones."""

MOST = 0.5
"""Share of the samples that are predicted as the target: if more of them show it, and no labels say
that they are none of the target, it is what the target itself looks like."""

NAMED = 3
"""The most samples that are named."""


def leave_out_misplaced(observation: Observation, trigger: Trigger) -> Observation:
    """Leave out clean samples that lead to the target, and show the trigger as triggered ones do.

    Where few clean samples are predicted as the target, as among many classes, such ones would be
    most of what a detector has to tell the trigger from.

    Args:
        observation: of unpaired samples whose trigger does the same to every input: maps (C, H, W).
        trigger: where it leads, and the samples to fit it to.

    Returns:
        The observation without them; the same one where there are none.
    """
    evidence, target = observation.evidence, trigger.finding.target
    called = observation.predictions.clean == target
    suspect = called
    if observation.labels.clean is not None:
        suspect = called & (observation.labels.clean != target)
    rows = suspect.nonzero().flatten()
    if not len(rows):
        return observation
    clean = (~called).nonzero().flatten().tolist()[:FITTED]
    triggered = trigger.use.nonzero().flatten().tolist()[:FITTED]
    overlay = estimate_unpaired_overlay(
        evidence.clean.load(clean), evidence.triggered.load(triggered)
    )
    if overlay is None:
        return observation
    shows = overlay.score(evidence.clean.load(rows.tolist())) > SHOWN
    if not bool(shows.any()):
        return observation
    found = rows[shows]
    names = _named([evidence.clean.names[i] for i in found.tolist()])
    if observation.labels.clean is None and float(shows.float().mean()) > MOST:
        logger.info(
            "most clean samples that are predicted as class %s show the trigger: %s. Are they "
            "triggered? Then take them out, or give the clean samples' labels",
            observation.label(target),
            names,
        )
        return observation
    logger.info("clean samples that show the trigger, and are left out: %s", names)
    kept = called.new_ones(len(called))
    kept[found] = False
    return _of_clean(observation, kept)


def _named(names: Sequence[str]) -> str:
    """Return how many there are, and what the first are called."""
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} ({', '.join(names[:NAMED])}{more})"


def _of_clean(observation: Observation, kept: Tensor) -> Observation:
    """Return the observation with those of the clean samples, (N,) bool."""
    evidence, labels = observation.evidence, observation.labels
    rows = kept.nonzero().flatten().tolist()
    return replace(
        observation,
        evidence=replace(evidence, clean=Subset(evidence.clean, rows)),
        labels=Both(None if labels.clean is None else labels.clean[kept], labels.triggered),
        logits=Both(observation.logits.clean[kept], observation.logits.triggered),
    )
