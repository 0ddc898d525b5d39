"""Triggered samples that are altered when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..estimate.trigger_fit import TriggerFit, fit_trigger, limits
from ..samples.evidence import Evidence
from ..samples.subset import Subset
from .alterations import kinds_of
from .pixels import to_inputs, to_pixels

PAIRS = 200
"""The most pairs that a trigger is fitted to; its slope and offset need few."""


@dataclass(frozen=True)
class Copy:
    """An altered copy of a triggered sample.

    Attributes:
        original: the index of the sample.
        kind: of alteration, one of `alterations.kinds_of`.
        seed: of what is random about it; the same seed makes the same copy.
    """

    original: int
    kind: str
    seed: int


def fit_to(evidence: Evidence, use: Tensor) -> TriggerFit:
    """Fit a trigger to pairs of images; without pairs, nothing is known of what it does.

    Args:
        evidence: the samples.
        use: which triggered samples have the trigger, (M,) bool.
    """
    description = evidence.clean.description
    if not evidence.paired:
        nothing = torch.zeros(description.shape)
        return TriggerFit(nothing, nothing)
    rows = use.nonzero().flatten()[:PAIRS].tolist()
    triggered = evidence.triggered.load(rows)
    clean = evidence.clean.load([evidence.partners[i] for i in rows])
    clean, triggered = to_pixels(clean, description), to_pixels(triggered, description)
    return fit_trigger(clean, triggered, *limits(clean, triggered))


class AlteredSamples(Subset):
    """Altered copies of triggered samples.

    Args:
        evidence: the samples: images, or other maps (C, H, W).
        copies: the copies to make.
        fit: what the trigger does, as `fit_to` returns it.
    """

    def __init__(self, evidence: Evidence, copies: Sequence[Copy], fit: TriggerFit) -> None:
        super().__init__(evidence.triggered, [copy.original for copy in copies])
        self._evidence = evidence
        self._copies = copies
        self._fit = fit

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the copies at `indices`, (n, C, H, W) float32, normalised."""
        evidence, copies = self._evidence, [self._copies[i] for i in indices]
        triggered = to_pixels(super().load(indices), self.description)
        clean = triggered
        if evidence.paired:
            partners = [evidence.partners[copy.original] for copy in copies]
            clean = to_pixels(evidence.clean.load(partners), self.description)
        kinds = kinds_of(evidence)
        altered = [
            kinds[copy.kind](one, other, self._fit, torch.Generator().manual_seed(copy.seed))
            for copy, one, other in zip(copies, clean, triggered, strict=True)
        ]
        return to_inputs(torch.stack(altered), self.description)
