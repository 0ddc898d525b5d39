"""Read what the parts of two packages import from each other, and which layers they stand in.

A part is a package or a module right below one of the two.
"""

from __future__ import annotations

import ast
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

Arrow = tuple[str, str]
"""The part that imports, and the one that it imports."""


@dataclass(frozen=True)
class Imports:
    """What imports what.

    Attributes:
        parts: each part, as `package.part`, with the number of its modules.
        arrows: each arrow, with the number of imports that it stands for.
        layers: the layer of each part; the lowest is 0.
    """

    parts: Mapping[str, int]
    arrows: Mapping[Arrow, int]
    layers: Mapping[str, int]

    @property
    def height(self) -> int:
        """How many layers there are."""
        return 1 + max(self.layers.values())

    @property
    def upward(self) -> list[Arrow]:
        """The arrows that do not go to a lower layer."""
        return [(a, b) for a, b in self.arrows if self.layers[a] <= self.layers[b]]

    def describe(self) -> str:
        """Return the counts, for a person."""
        return (
            f"{len(self.parts)} packages and modules in {self.height} layers, "
            f"{len(self.arrows)} arrows, {len(self.upward) or 'none'} of them upwards"
        )


def read_imports(packages: Mapping[str, Path], whole: Sequence[str] = ()) -> Imports:
    """Read what the parts of some packages import from each other.

    Args:
        packages: the folder of each package.
        whole: packages that are one part each.

    Raises:
        SystemExit: there is no such folder, or no module in any.
    """
    modules: dict[str, Path] = {}
    for package, folder in packages.items():
        if not folder.is_dir():
            raise SystemExit(f"{folder}: no such folder, expected the package {package}")
        modules |= _modules_of(package, folder)
    parts = Counter(_part_of(module, whole) for module in modules)
    # Where users import; what it offers is not what it needs.
    for package in set(packages) - set(whole):
        del parts[package]
    if not parts:
        raise SystemExit(f"{', '.join(map(str, packages.values()))}: no module")
    arrows: Counter[Arrow] = Counter()
    for module, file in modules.items():
        for imported in _imported_by(module, file, modules):
            arrow = _part_of(module, whole), _part_of(imported, whole)
            if arrow[0] != arrow[1] and set(arrow) <= set(parts):
                arrows[arrow] += 1
    return Imports(dict(parts), dict(sorted(arrows.items())), find_layers(list(parts), arrows))


def find_layers(parts: Sequence[str], arrows: Mapping[Arrow, int]) -> dict[str, int]:
    """Return the lowest layer of each part on which it stands above what it imports.

    Args:
        parts: their names.
        arrows: what imports what, with the number of imports; in each circle the one with the
            fewest is left out.
    """
    kept = dict(sorted(arrows.items()))
    while True:
        below = {part: [b for a, b in kept if a == part] for part in sorted(parts)}
        try:
            order = list(TopologicalSorter(below).static_order())
            break
        except CycleError as error:
            # It lists a circle in the order in which it is imported.
            circle = [(a, b) for b, a in itertools.pairwise(error.args[1])]
            del kept[min(circle, key=lambda arrow: (kept[arrow], arrow))]
    layers: dict[str, int] = {}
    for part in order:
        layers[part] = 1 + max((layers[each] for each in below[part]), default=-1)
    return layers


def _modules_of(package: str, folder: Path) -> dict[str, Path]:
    """Return the files of all modules below a package, by their dotted names."""
    found = {}
    for file in sorted(folder.rglob("*.py")):
        parts = [package, *file.relative_to(folder).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def _part_of(module: str, whole: Sequence[str]) -> str:
    package, *inner = module.split(".")
    return package if package in whole else ".".join([package, *inner[:1]])


def _imported_by(module: str, file: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules among `modules` that a module imports, each as often as it does."""
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            inner = [f"{base}.{alias.name}" for alias in node.names]
            names = sorted({name if name in modules else base for name in inner})
        yield from (name for name in names if name in modules)
