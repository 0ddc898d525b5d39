"""Named things to choose from, to which other packages add theirs without a fork."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from torchserve_fire.errors import FireError, first_line

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """What is built in under its names, and what installed packages add.

    A package adds an entry by an entry point of the registry's group, in its own description:

        [project.entry-points."torchserve_fire.repairs"]
        my_repair = "my_package.repairs:my_repair"

    Names are known without importing anything; an added entry is imported when it is asked for.

    Args:
        group: the entry points' group.
        built_in: the entries of this package, in the order in which they are listed and tried.
    """

    def __init__(self, group: str, built_in: Mapping[str, T]) -> None:
        self.group = group
        self._built_in = dict(built_in)
        self._added = {
            point.name: point
            for point in sorted(entry_points(group=group), key=lambda point: point.name)
            # What this package has keeps its meaning, whatever else is installed.
            if point.name not in built_in
        }
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        """Return an entry.

        Raises:
            KeyError: there is none of this name.
            FireError: a package that adds it cannot be imported.
        """
        if name in self._built_in:
            return self._built_in[name]
        if name not in self._loaded:
            point = self._added[name]
            try:
                self._loaded[name] = point.load()
            except Exception as error:  # Whatever somebody's module raises as it is imported.
                package = point.dist.name if point.dist else point.value
                raise FireError(
                    f"{name}, an entry point of {self.group} that {package} adds, cannot be "
                    f"imported: {first_line(error)}"
                ) from error
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        """Return whether there is an entry of this name, without importing it."""
        return name in self._built_in or name in self._added

    def __iter__(self) -> Iterator[str]:
        """Yield the names: those built in first, then those added, in alphabetical order."""
        yield from (*self._built_in, *self._added)

    def __len__(self) -> int:
        return len(self._built_in) + len(self._added)
