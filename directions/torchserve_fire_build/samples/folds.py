"""Folds: every sample is held out once from the estimates that it is judged with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..common.errors import SamplesError
from .both import Both
from .evidence import Evidence

FOLDS = 4
MIN_SAMPLES = 2 * FOLDS
"""Clean samples, or triggered ones of a single trigger."""

MIN_OF_EACH = FOLDS
"""Triggered samples of each of several triggers: fewer could not be dealt out to the folds."""


def assign_folds(
    evidence: Evidence, generator: torch.Generator, groups: Sequence[Tensor] = ()
) -> Both[Tensor]:
    """Deal the samples out to the folds at random, evenly; those of one origin to the same fold.

    Args:
        evidence: the samples.
        generator: of the deal.
        groups: sets of triggered samples, (M,) bool each, that are to be dealt out evenly, too.

    Returns:
        The fold of each clean sample, (N,) int64 below `FOLDS`, and of each triggered one, (M,). A
        triggered sample is in the fold of its clean partner.

    Raises:
        SamplesError: there are too few samples to hold any out.
    """
    for samples, name in ((evidence.clean, "clean"), (evidence.triggered, "triggered")):
        if len(samples) < MIN_SAMPLES:
            raise SamplesError(
                f"{samples.source}: {len(samples)} {name} samples, expected at least {MIN_SAMPLES}"
            )
    triggered = _deal(len(evidence.triggered), generator)
    for group in groups:
        triggered[group] = _deal(int(group.sum()), generator)
    if len(set(evidence.origins)) > 1:
        triggered = torch.tensor(evidence.origins) % FOLDS
    clean = _deal(len(evidence.clean), generator)
    if evidence.paired:
        clean[torch.tensor(list(evidence.partners))] = triggered
    return Both(clean, triggered)


def _deal(count: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(count, generator=generator) % FOLDS
