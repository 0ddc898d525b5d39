"""Covariance of vectors, accumulated batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


class Covariance:
    """Mean and scatter of vectors, or of pairs of vectors, merged batch by batch as in `Moments`.

    Without pairs, each vector is its own partner.

    Attributes:
        count: number of vectors seen.
        mean: mean of the vectors, (C,) float32.
        partner_mean: mean of the partners, (D,) float32.
        scatter: sum of the outer products of centred vectors and centred partners, (C, D) float32.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.partner_mean = torch.zeros(())
        self.scatter = torch.zeros(())

    def add(self, batch: Tensor, partners: Tensor | None = None) -> None:
        """Add vectors, (n, C), and the partner of each of them, (n, D)."""
        if len(batch) == 0:
            return
        batch = batch.float()
        mean = partner_mean = batch.mean(0)
        centered = centered_partners = batch - mean
        if partners is not None:
            partners = partners.float()
            partner_mean = partners.mean(0)
            centered_partners = partners - partner_mean
        self._merge(len(batch), mean, partner_mean, centered.T @ centered_partners)

    @classmethod
    def merged(cls, parts: Iterable[Covariance]) -> Covariance:
        """Return the covariance of several sets of vectors together."""
        whole = cls()
        for part in parts:
            if part.count:
                whole._merge(part.count, part.mean, part.partner_mean, part.scatter)
        return whole

    def stored(self) -> dict[str, Tensor]:
        """Return it as tensors by name, as `restored` takes them."""
        return {
            "count": torch.tensor(self.count),
            "mean": self.mean,
            "partner_mean": self.partner_mean,
            "scatter": self.scatter,
        }

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> Covariance:
        """Return what `stored` was called of."""
        covariance = cls()
        covariance.count = int(tensors["count"])
        covariance.mean, covariance.partner_mean = tensors["mean"], tensors["partner_mean"]
        covariance.scatter = tensors["scatter"]
        return covariance

    def _merge(self, count: int, mean: Tensor, partner_mean: Tensor, scatter: Tensor) -> None:
        total = self.count + count
        delta, partner_delta = mean - self.mean, partner_mean - self.partner_mean
        between = torch.outer(delta, partner_delta) if self.count else torch.zeros(())
        self.mean = self.mean + delta * (count / total)
        self.partner_mean = self.partner_mean + partner_delta * (count / total)
        self.scatter = self.scatter + scatter + between * (self.count * count / total)
        self.count = total
