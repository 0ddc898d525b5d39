"""Folds: every sample is held out once from the estimates that it is judged with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.errors import SamplesError
from .evidence import Evidence

FOLDS = 4
MIN_SAMPLES = 2 * FOLDS


@dataclass(frozen=True)
class Folds:
    """The fold of each sample.

    Attributes:
        clean: (N,) int64, values below `FOLDS`.
        triggered: (M,) int64; a triggered sample is in the fold of its clean partner.
    """

    clean: Tensor
    triggered: Tensor


def assign_folds(
    evidence: Evidence, generator: torch.Generator, groups: Sequence[Tensor] = ()
) -> Folds:
    """Deal the samples out to the folds at random, evenly; those of one origin to the same fold.

    Args:
        evidence: the samples.
        generator: of the deal.
        groups: sets of triggered samples, (M,) bool each, that are to be dealt out evenly, too.

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
    return Folds(clean, triggered)


def _deal(count: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(count, generator=generator) % FOLDS
