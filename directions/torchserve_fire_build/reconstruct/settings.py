"""The settings of the searches for triggers that may replace the methods' own values."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .methods import LEVELS, SEARCH_METHODS, SHARE, SearchMethod


@dataclass(frozen=True)
class SearchSettings:
    """Hyper-parameters of the searches; None keeps each method's own value.

    Attributes:
        bound: bound in the screening, for methods whose bound is in `LEVELS`.
        patch_share: bound in the screening, for methods whose bound is a `SHARE`.
        screening_steps: number of steps after which the classes are compared.
        steps: number of steps in all, for a class that stands out; it includes the screening.
        anomaly_index: a class with a higher anomaly index is a suspect.
    """

    bound: float | None = None
    patch_share: float | None = None
    screening_steps: int | None = None
    steps: int | None = None
    anomaly_index: float | None = None

    def method(self, name: str) -> SearchMethod:
        """Return a method of `SEARCH_METHODS`, its own values replaced by those that are set."""
        method = SEARCH_METHODS[name]
        if method.unit == LEVELS and self.bound is not None:
            method = replace(method, bound=self.bound)
        if method.unit == SHARE and self.patch_share is not None:
            method = replace(method, bound=self.patch_share)
        if self.screening_steps is not None:
            screening = int(min(self.screening_steps, method.whole))
            # A search continues its screening, so it cannot have fewer steps.
            method = replace(method, screening=screening, steps=max(method.steps, screening))
        if self.steps is not None:
            method = replace(method, steps=self.steps)
        return method


OWN_VALUES = SearchSettings()
"""Nothing is set."""
