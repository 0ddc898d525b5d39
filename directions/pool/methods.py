"""The methods that score the samples of a predicted class, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .activation_clustering import activation_clustering
from .arrays import Matrix, Vector
from .mahalanobis import mahalanobis
from .spectral_signatures import spectral_signatures

Method = Callable[[Matrix, Matrix | None, int], Vector]
"""Takes last-layer features of a class, those of clean samples predicted as it, and a seed."""

METHODS: Mapping[str, Method] = {
    "activation-clustering": activation_clustering,
    "spectral-signatures": spectral_signatures,
    "mahalanobis": mahalanobis,
}
