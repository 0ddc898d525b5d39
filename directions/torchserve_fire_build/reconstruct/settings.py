"""What a person may set of the searches for triggers, in place of the methods' own values."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .methods import LEVELS, SEARCH_METHODS, SHARE, SearchMethod


@dataclass(frozen=True)
class SearchSettings:
    """Hyper-parameters of the searches; what is None is each method's own.

    Attributes:
        bound: of methods whose bound is in `LEVELS`, in the screening.
        patch_share: of methods whose bound is a `SHARE`, likewise.
        screening_steps: steps in which the classes are compared.
        steps: in all, for a class that stands out, those of the screening among them.
        anomaly_index: a class with a higher one is a suspect.
    """

    bound: float | None = None
    patch_share: float | None = None
    screening_steps: int | None = None
    steps: int | None = None
    anomaly_index: float | None = None

    def method(self, name: str) -> SearchMethod:
        """Return a method of `SEARCH_METHODS`, with what is set in place of its own values."""
        method = SEARCH_METHODS[name]
        if method.unit == LEVELS and self.bound is not None:
            method = replace(method, bound=self.bound)
        if method.unit == SHARE and self.patch_share is not None:
            method = replace(method, bound=self.patch_share)
        if self.screening_steps is not None:
            screening = int(min(self.screening_steps, method.whole))
            # A search goes on from its screening, and does not end before it.
            method = replace(method, screening=screening, steps=max(method.steps, screening))
        if self.steps is not None:
            method = replace(method, steps=self.steps)
        return method


OWN_VALUES = SearchSettings()
"""Nothing is set."""
