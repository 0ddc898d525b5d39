"""What a person may set of the searches for triggers, in place of the methods' own values."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .methods import METHODS, Method

BOUNDED_CHANGE = ("generated", "additive", "smooth", "feature-space")
"""Methods whose bound is a root mean square."""

BOUNDED_PATCH = ("abs",)
"""Methods whose bound is a share of the places."""


@dataclass(frozen=True)
class SearchSettings:
    """Hyper-parameters of the searches; what is None is each method's own.

    Attributes:
        bound: root mean square of what methods of `BOUNDED_CHANGE` may change in the screening,
            where inputs go from 0 to 1.
        patch_share: share of the places that methods of `BOUNDED_PATCH` may cover, likewise.
        screening_steps: steps in which the classes are compared.
        steps: in all, for a class that stands out, those of the screening among them.
        anomaly_index: a class with a higher one is a suspect.
    """

    bound: float | None = None
    patch_share: float | None = None
    screening_steps: int | None = None
    steps: int | None = None
    anomaly_index: float | None = None

    def method(self, name: str) -> Method:
        """Return a method of `METHODS`, with what is set in place of its own values."""
        method = METHODS[name]
        if name in BOUNDED_CHANGE and self.bound is not None:
            method = replace(method, bound=self.bound)
        if name in BOUNDED_PATCH and self.patch_share is not None:
            method = replace(method, bound=self.patch_share)
        if self.screening_steps is not None:
            # A search goes on from its screening, and does not end before it.
            steps = max(method.steps, self.screening_steps)
            method = replace(method, screening=self.screening_steps, steps=steps)
        if self.steps is not None:
            method = replace(method, steps=self.steps)
        return method


OWN_VALUES = SearchSettings()
"""Nothing is set."""
