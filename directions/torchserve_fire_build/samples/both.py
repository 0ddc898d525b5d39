"""A pair of values of the same kind: one for the clean samples, one for the triggered samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Both(Generic[T]):
    """A value for the clean samples and one of the same kind for the triggered samples.

    Attributes:
        clean: the value for the clean samples.
        triggered: the value for the triggered samples.
    """

    clean: T
    triggered: T

    def __iter__(self) -> Iterator[T]:
        """Yield the clean value, then the triggered one."""
        return iter((self.clean, self.triggered))

    def map(self, function: Callable[[T], S]) -> Both[S]:
        """Return a function's results for the two values."""
        return Both(function(self.clean), function(self.triggered))
