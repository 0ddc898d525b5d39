"""Mean and variance of features, accumulated batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


class Moments:
    """Mean and variance of each coordinate, in memory that does not grow with the samples.

    Batches are merged as in Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm
    for Computing Sample Variances" (1979), which stays accurate where sums of squares would not.

    Attributes:
        count: number of samples seen.
        mean: (*S) float32; zero before the first sample.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self._squares = torch.zeros(())

    def add(self, batch: Tensor) -> None:
        """Add samples, (n, *S)."""
        size = len(batch)
        if size == 0:
            return
        batch = batch.float()
        mean = batch.mean(0)
        self._merge(size, mean, (batch - mean).square_().sum(0))

    @classmethod
    def merged(cls, parts: Iterable[Moments]) -> Moments:
        """Return the moments of several sets of samples together."""
        whole = cls()
        for part in parts:
            if part.count:
                whole._merge(part.count, part.mean, part._squares)
        return whole

    def without(self, part: Moments) -> Moments:
        """Return the moments of the samples that are not in a part of them."""
        rest = Moments()
        rest.count = self.count - part.count
        if rest.count == 0:
            return rest
        rest.mean = self.mean + (self.mean - part.mean) * (part.count / rest.count)
        between = (part.mean - rest.mean).square() * (part.count * rest.count / self.count)
        # Rounding may leave a little less than nothing.
        rest._squares = (self._squares - part._squares - between).clamp(min=0)
        return rest

    def _merge(self, count: int, mean: Tensor, squares: Tensor) -> None:
        total = self.count + count
        delta = mean - self.mean
        self.mean = self.mean + delta * (count / total)
        self._squares = self._squares + squares + delta.square() * (self.count * count / total)
        self.count = total

    def stored(self) -> dict[str, Tensor]:
        """Return it as tensors by name, as `restored` takes them."""
        return {"count": torch.tensor(self.count), "mean": self.mean, "squares": self._squares}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> Moments:
        """Return what `stored` was called of."""
        moments = cls()
        moments.count = int(tensors["count"])
        moments.mean, moments._squares = tensors["mean"], tensors["squares"]
        return moments

    @property
    def variance(self) -> Tensor:
        """Unbiased variance of each coordinate, (*S) float32; zero for fewer than two samples."""
        return self._squares / max(self.count - 1, 1)
