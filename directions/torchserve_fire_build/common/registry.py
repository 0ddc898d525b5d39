"""Named things to choose from, to which other packages add theirs without a fork."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from torchserve_fire.errors import FireError

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
        self._entries = dict(built_in)
        self._added = {
            point.name: point
            for point in sorted(entry_points(group=group), key=lambda point: point.name)
            # What this package has keeps its meaning, whatever else is installed.
            if point.name not in built_in
        }

    def __getitem__(self, name: str) -> T:
        """Return an entry.

        Raises:
            KeyError: there is none of this name.
            FireError: a package that adds it cannot be imported.
        """
        if name not in self._entries:
            point = self._added[name]
            try:
                self._entries[name] = point.load()
            except Exception as error:
                package = point.dist.name if point.dist else point.value
                raise FireError(
                    f"{name}, an entry point of {self.group} that {package} adds, cannot be "
                    f"imported: {error}"
                ) from error
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names: those built in first, then those added, in alphabetical order."""
        yield from dict.fromkeys([*self._entries, *self._added])

    def __len__(self) -> int:
        return len({*self._entries, *self._added})
