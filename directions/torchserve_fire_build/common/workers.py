"""Doing one thing with many items, in this process or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from torchserve_fire.errors import FireError

Item = TypeVar("Item")
Result = TypeVar("Result")


class LostWorkerError(FireError):
    """Whatever worked on an item was killed, each time that it was tried."""


class Workers(Protocol):
    """Does one thing with many items."""

    @property
    def at_once(self) -> int:
        """How many items are done at the same time."""
        ...

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[int, Result | LostWorkerError]]:
        """Yield for each item its place and what the function returns, as soon as that is known.

        Args:
            function: of a module, so that another process finds it; its results can be pickled. A
                worker that is killed in the midst of an item does this one again.
            items: what to call it with; they can be pickled. Each is asked for when its turn comes.
        """
        ...


class ThisProcess:
    """Takes one item after the other, in their order."""

    at_once = 1

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[int, Result | LostWorkerError]]:
        """Do as `Workers.map`."""
        for place, item in enumerate(items):
            yield place, function(item)


def results_of(
    workers: Workers, function: Callable[[Item], Result | str], items: Iterable[Item]
) -> Iterator[tuple[int, Result]]:
    """Yield as `Workers.map` does; whatever goes wrong with an item is raised here.

    Args:
        workers: do the work.
        function: as `Workers.map` takes it. It returns the message of an error, since not every
            error can be sent to another process.
        items: what to call it with.

    Raises:
        FireError: the function returned a message, or a worker was killed again and again.
    """
    for place, result in workers.map(function, items):
        if isinstance(result, LostWorkerError):
            raise result
        if isinstance(result, str):
            raise FireError(result)
        yield place, result
