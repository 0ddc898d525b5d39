"""Covariance of vectors, accumulated in a stream."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Covariance:
    """Mean and scatter of vectors, merged batch by batch as in `Moments`.

    Attributes:
        count: vectors seen.
        mean: (C,) float32.
        scatter: sum of the outer products of the vectors less their mean, (C, C) float32.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.scatter = torch.zeros(())

    def add(self, batch: Tensor) -> None:
        """Take in vectors, (n, C)."""
        if len(batch) == 0:
            return
        batch = batch.float()
        mean = batch.mean(0)
        centered = batch - mean
        self._merge(len(batch), mean, centered.T @ centered)

    @classmethod
    def merged(cls, parts: Iterable[Covariance]) -> Covariance:
        """Return what several sets of vectors give together."""
        whole = cls()
        for part in parts:
            if part.count:
                whole._merge(part.count, part.mean, part.scatter)
        return whole

    def _merge(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        total = self.count + count
        delta = mean - self.mean
        between = torch.outer(delta, delta) if self.count else torch.zeros(())
        self.mean = self.mean + delta * (count / total)
        self.scatter = self.scatter + scatter + between * (self.count * count / total)
        self.count = total
