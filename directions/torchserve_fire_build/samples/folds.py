"""Folds: each sample is held out once, and judged with estimates from the other folds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..common.errors import SamplesError
from .both import Both
from .evidence import Evidence

FOLDS = 4
MIN_SAMPLES = FOLDS
"""The fewest clean samples, and the fewest triggered ones of each trigger: with fewer, a fold would
have none."""


def assign_folds(
    evidence: Evidence, generator: torch.Generator, groups: Sequence[Tensor] = ()
) -> Both[Tensor]:
    """Assign the samples to the folds, at random and evenly.

    Samples of one origin get the same fold, and so do the two samples of a pair.

    Args:
        evidence: the samples.
        generator: source of the random numbers.
        groups: sets of triggered samples, (M,) bool each; each set is spread evenly, too.

    Returns:
        The fold of each clean sample, (N,) int64 below `FOLDS`, and of each triggered sample, (M,).

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
