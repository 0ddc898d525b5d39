"""The methods that score the samples of a predicted class, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..common.registry import Registry
from .activation_clustering import COMPONENTS, activation_clustering
from .arrays import Matrix, Vector
from .mahalanobis import mahalanobis
from .spectral_signatures import spectral_signatures

PoolMethod = Callable[[Matrix, Matrix | None, int], Vector]
"""Scores samples, (n,). It takes last-layer features of a class, (n, D), those of clean samples
that are predicted as the class, (m, D) or None, and a seed."""

REDUCING = "activation-clustering"
"""The method whose number of components can be chosen."""

POOL_METHODS: Registry[PoolMethod] = Registry(
    "torchserve_fire.pool_methods",
    {
        REDUCING: activation_clustering,
        "spectral-signatures": spectral_signatures,
        "mahalanobis": mahalanobis,
    },
    returns=np.ndarray,
)

DEFAULT_METHOD = REDUCING
"""The method that is used if none is named."""


def scoring(name: str, components: int = COMPONENTS) -> PoolMethod:
    """Return a method of `POOL_METHODS`; `components` is for Activation Clustering only."""
    if name == REDUCING:
        return partial(activation_clustering, components=components)
    return POOL_METHODS[name]
