"""The methods that score the samples of a predicted class, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from .activation_clustering import activation_clustering
from .arrays import Matrix, Vector
from .components import COMPONENTS
from .mahalanobis import mahalanobis
from .spectral_signatures import spectral_signatures

Method = Callable[[Matrix, Matrix | None, int], Vector]
"""Takes last-layer features of a class, those of clean samples predicted as it, and a seed."""


class ReducingMethod(Protocol):
    """Takes, besides, the number of components that it is to reduce features to."""

    def __call__(
        self, features: Matrix, clean: Matrix | None, seed: int, components: int
    ) -> Vector:
        """Return the scores."""
        ...


METHODS: Mapping[str, Method] = {
    "activation-clustering": activation_clustering,
    "spectral-signatures": spectral_signatures,
    "mahalanobis": mahalanobis,
}

REDUCING: Mapping[str, ReducingMethod] = {
    "activation-clustering": activation_clustering,
    "mahalanobis": mahalanobis,
}
"""Those that reduce features first."""


def scoring(name: str, components: int = COMPONENTS) -> Method:
    """Return a method of `METHODS` that reduces features to so many components, if it does."""
    return partial(REDUCING[name], components=components) if name in REDUCING else METHODS[name]
