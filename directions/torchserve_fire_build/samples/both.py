"""One thing of the clean samples and the same of the triggered ones."""

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
        clean: of the clean samples.
        triggered: of the triggered samples.
    """

    clean: T
    triggered: T

    def __iter__(self) -> Iterator[T]:
        """Yield the clean value, then the triggered one."""
        return iter((self.clean, self.triggered))

    def map(self, function: Callable[[T], S]) -> Both[S]:
        """Return what a function makes of each of the two."""
        return Both(function(self.clean), function(self.triggered))
