"""The methods that score the samples of a predicted class, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..common.registry import Registry
from .activation_clustering import COMPONENTS, activation_clustering
from .arrays import Matrix, Vector
from .mahalanobis import mahalanobis
from .spectral_signatures import spectral_signatures

PoolMethod = Callable[[Matrix, Matrix | None, int], Vector]
"""Takes last-layer features of a class, those of clean samples predicted as it, and a seed."""

REDUCING = "activation-clustering"
"""The one that reduces features to as many components as one likes."""

POOL_METHODS: Registry[PoolMethod] = Registry(
    "torchserve_fire.pool_methods",
    {
        REDUCING: activation_clustering,
        "spectral-signatures": spectral_signatures,
        "mahalanobis": mahalanobis,
    },
)

DEFAULT_METHOD = REDUCING
"""Where nobody names another."""


def scoring(name: str, components: int = COMPONENTS) -> PoolMethod:
    """Return a method of `POOL_METHODS`; Activation Clustering reduces to so many components."""
    if name == REDUCING:
        return partial(activation_clustering, components=components)
    return POOL_METHODS[name]
