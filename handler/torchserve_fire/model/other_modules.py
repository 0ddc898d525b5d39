"""Modules of this process that code from a folder must not get in the place of its own.

A model file says `from blocks import Block`. Where the process has a module `blocks` from
elsewhere, of its own or of another model, Python would give it that one.
"""

from __future__ import annotations

import contextlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

OURS = {"torchserve_fire", "torchserve_fire_build"}
"""An archive holds a copy of the first, too. What runs stays one package."""

INSTALLED = {"site-packages", "dist-packages"}
"""Folders that installers write to."""


@contextlib.contextmanager
def without_other_modules(folder: Path) -> Iterator[None]:
    """Run a block without modules from elsewhere that are called as files of a folder are.

    They are put back afterwards. What is installed stays: so does it in a worker process.

    Args:
        folder: a whole path without links.
    """
    own = {
        path.name.removesuffix(".py")
        for path in folder.glob("*")
        if path.suffix == ".py" or path.is_dir()
    } - OURS
    hidden = {
        name: module
        for name, module in sys.modules.copy().items()
        if name.partition(".")[0] in own
        and any(True for _ in _places(module))
        and not (lies_in(module, folder) or _is_installed(module))
    }
    for name in hidden:
        del sys.modules[name]
    try:
        yield
    finally:
        sys.modules.update(hidden)


def lies_in(module: ModuleType, folder: Path) -> bool:
    """Whether a module's file, or the folders of its package, are in a folder.

    Args:
        module: the module.
        folder: a whole path without links.
    """
    return any(place.is_relative_to(folder) for place in _places(module))


def _is_installed(module: ModuleType) -> bool:
    paths = sysconfig.get_paths()
    standard = [Path(paths[name]).resolve() for name in ("stdlib", "platstdlib")]
    return any(
        not INSTALLED.isdisjoint(place.parts)
        or any(place.is_relative_to(folder) for folder in standard)
        for place in _places(module)
    )


def _places(module: ModuleType) -> Iterator[Path]:
    """Yield where a module's file, or a namespace package's folders, are, also behind links."""
    file = getattr(module, "__file__", None)
    places = [file] if isinstance(file, str) else list(getattr(module, "__path__", []))
    for place in places:
        if isinstance(place, str):
            yield Path(place)
            yield Path(place).resolve()
