"""Named entries to choose from; other packages can add entries without a fork."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from torchserve_fire.errors import FireError, first_line

from .errors import UnknownNameError

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """The built-in entries by name, and the entries that installed packages add.

    A package adds an entry with an entry point of the registry's group, in its `pyproject.toml`:

        [project.entry-points."torchserve_fire.repairs"]
        my_repair = "my_package.repairs:my_repair"

    Names are known without importing anything. An added entry is imported when it is first used.

    Args:
        group: the group of the entry points.
        built_in: the entries of this package, in the order in which they are listed and tried.
    """

    def __init__(self, group: str, built_in: Mapping[str, T]) -> None:
        self.group = group
        self._built_in = dict(built_in)
        self._added = {
            point.name: point
            for point in sorted(entry_points(group=group), key=lambda point: point.name)
            # A built-in name keeps its meaning, whatever else is installed.
            if point.name not in built_in
        }
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        """Return the entry of a name.

        Raises:
            UnknownNameError: there is no entry of this name; a KeyError, too.
            FireError: the package that adds the entry cannot be imported.
        """
        if name in self._built_in:
            return self._built_in[name]
        if name not in self:
            raise UnknownNameError(name, self)
        if name not in self._loaded:
            point = self._added[name]
            try:
                self._loaded[name] = point.load()
            # A foreign module may raise anything when imported.
            except (Exception, SystemExit) as error:
                package = point.dist.name if point.dist else point.value
                raise FireError(
                    f"{name}, an entry point of {self.group} that {package} adds, cannot be "
                    f"imported: {first_line(error)}"
                ) from error
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        """Return whether there is an entry of this name, without importing the entry."""
        return name in self._built_in or name in self._added

    def __iter__(self) -> Iterator[str]:
        """Yield the names: first the built-in ones, then the added ones in alphabetical order."""
        yield from (*self._built_in, *self._added)

    def __len__(self) -> int:
        return len(self._built_in) + len(self._added)
