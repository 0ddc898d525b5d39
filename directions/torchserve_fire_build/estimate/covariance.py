"""Covariance of vectors, accumulated in a stream."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Covariance:
    """Mean and scatter of vectors, or of pairs of vectors, merged batch by batch as in `Moments`.

    Attributes:
        count: vectors seen.
        mean: (C,) float32.
        partner_mean: of the vectors beside them, (D,) float32; `mean` where there are none.
        scatter: sum of the outer products of the vectors less their mean with those beside them
            less theirs, (C, D) float32; with themselves, (C, C), where there are none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.partner_mean = torch.zeros(())
        self.scatter = torch.zeros(())

    def add(self, batch: Tensor, partners: Tensor | None = None) -> None:
        """Take in vectors, (n, C), and what is beside each of them, (n, D)."""
        if len(batch) == 0:
            return
        batch = batch.float()
        mean = partner_mean = batch.mean(0)
        centered = others = batch - mean
        if partners is not None:
            partners = partners.float()
            partner_mean = partners.mean(0)
            others = partners - partner_mean
        self._merge(len(batch), mean, partner_mean, centered.T @ others)

    @classmethod
    def merged(cls, parts: Iterable[Covariance]) -> Covariance:
        """Return what several sets of vectors give together."""
        whole = cls()
        for part in parts:
            if part.count:
                whole._merge(part.count, part.mean, part.partner_mean, part.scatter)
        return whole

    def _merge(self, count: int, mean: Tensor, partner_mean: Tensor, scatter: Tensor) -> None:
        total = self.count + count
        delta, partner_delta = mean - self.mean, partner_mean - self.partner_mean
        between = torch.outer(delta, partner_delta) if self.count else torch.zeros(())
        self.mean = self.mean + delta * (count / total)
        self.partner_mean = self.partner_mean + partner_delta * (count / total)
        self.scatter = self.scatter + scatter + between * (self.count * count / total)
        self.count = total
