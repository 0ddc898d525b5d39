"""Named entries to choose from; other packages can add entries without a fork."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import UnionType
from typing import Any, Generic, TypeVar, get_args

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
        kind: the class of the entries, if they are no functions.
        returns: what the entries return, if they are functions.
    """

    def __init__(
        self,
        group: str,
        built_in: Mapping[str, T],
        *,
        kind: type[T] | None = None,
        returns: type | UnionType = object,
    ) -> None:
        self.group = group
        self._kind = kind
        self._returns = returns
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
            FireError: the package that adds the entry cannot be imported, or the entry is of
                another kind.
        """
        if name in self._built_in:
            return self._built_in[name]
        if name not in self:
            raise UnknownNameError(name, self)
        if name not in self._loaded:
            point = self._added[name]
            try:
                entry = point.load()
            # A foreign module may raise anything when imported.
            except (Exception, SystemExit) as error:
                reason = first_line(error)
                raise FireError(f"{_named(point)}, cannot be imported: {reason}") from error
            self._loaded[name] = self._checked(entry, point)
        return self._loaded[name]

    def _checked(self, entry: Any, point: EntryPoint) -> Any:
        """Return an added entry; if it is a function, one that checks what it does."""
        is_right = callable(entry) if self._kind is None else isinstance(entry, self._kind)
        if not is_right:
            expected = "function" if self._kind is None else self._kind.__name__
            raise FireError(f"{_named(point)}, is a {type(entry).__name__}, expected a {expected}")
        if self._kind is not None:
            return entry
        return _checked_function(entry, self._returns, _named(point))

    def __contains__(self, name: object) -> bool:
        """Return whether there is an entry of this name, without importing the entry."""
        return name in self._built_in or name in self._added

    def __iter__(self) -> Iterator[str]:
        """Yield the names: first the built-in ones, then the added ones in alphabetical order."""
        yield from (*self._built_in, *self._added)

    def __len__(self) -> int:
        return len(self._built_in) + len(self._added)


def _named(point: EntryPoint) -> str:
    package = point.dist.name if point.dist else point.value
    return f"{point.name}, an entry point of {point.group} that {package} adds"


def _checked_function(
    function: Callable[..., Any], returns: type | UnionType, named: str
) -> Callable[..., Any]:
    """Return a function that says whose it is if it fails, or returns something else."""

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            result = function(*args, **kwargs)
        except FireError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise FireError(f"{named}, failed: {reason}") from error
        if not isinstance(result, returns):
            expected = " or ".join(each.__name__ for each in get_args(returns) or (returns,))
            raise FireError(f"{named}, returned a {type(result).__name__}, expected {expected}")
        return result

    return checked
