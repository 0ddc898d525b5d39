"""How the detection scores of clean samples are spread, as calibration saw them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 10


@dataclass(frozen=True)
class CleanScores:
    """The spread of the projections of clean samples that are not flagged.

    Attributes:
        count: number of samples that it was read from.
        deciles: the 9 scores that part these into tenths, ascending.
    """

    count: int
    deciles: tuple[float, ...]

    @classmethod
    def of(cls, scores: Tensor) -> CleanScores:
        """Return the spread of scores, (N,) with N > 0."""
        shares = torch.arange(1, BINS, dtype=torch.float64) / BINS
        deciles = torch.quantile(scores.double(), shares)
        return cls(len(scores), tuple(deciles.tolist()))
