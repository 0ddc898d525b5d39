"""Features in which every direction varies alike within a class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from torch import Tensor

LEAST_VARIANCE = 0.01
"""Of the mean variance of the channels: added to each, so that no dead channel decides."""

LEAST_SHRINKAGE = 1e-3


@dataclass(frozen=True)
class Whitening:
    """Divides features by the square root of a shrunk covariance.

    The covariance is that of Ledoit and Wolf, "A Well-Conditioned Estimator for Large-Dimensional
    Covariance Matrices" (2004), of channels of variance 1.

    Attributes:
        scale: of each channel, (C,).
        directions: principal directions of the scaled channels, (C, k).
        less: by which share each direction is made shorter than what is beyond all of them, (k,).
        unit: what remains is multiplied by this.
    """

    scale: Tensor
    directions: Tensor
    less: Tensor
    unit: float

    @classmethod
    def fit(cls, deviations: Tensor) -> Whitening | None:
        """Estimate it from deviations of samples from their class, (N, C); None if all are 0."""
        variance = deviations.square().mean(0)
        if float(variance.mean()) == 0:
            return None
        scale = (variance + LEAST_VARIANCE * variance.mean()).sqrt()
        scaled = deviations / scale
        found = float(ledoit_wolf_shrinkage(scaled.double().numpy(), assume_centered=True))
        shrinkage = max(found, LEAST_SHRINKAGE)
        left, sizes, _ = torch.linalg.svd(scaled.T, full_matrices=False)
        rest = shrinkage * float(scaled.square().mean())
        along = (1 - shrinkage) * sizes.square() / len(scaled) + rest
        return cls(scale, left, 1 - (rest / along).sqrt(), 1 / float(np.sqrt(rest)))

    def apply(self, features: Tensor) -> Tensor:
        """Return features (N, C), whitened."""
        scaled = features / self.scale
        return self.unit * (scaled - (scaled @ self.directions * self.less) @ self.directions.T)


def class_means(features: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the classes that there are, (K,), and the mean of each one's features, (K, C).

    Args:
        features: (N, C).
        classes: of each sample, (N,) int64.
    """
    known = torch.tensor(sorted(set(classes.tolist())))
    of = torch.searchsorted(known, classes)
    sums = torch.zeros(len(known), features.shape[1]).index_add_(0, of, features)
    return known, sums / of.bincount().unsqueeze(1)
