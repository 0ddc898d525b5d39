"""What code computed a result: both packages, the libraries, and classes of other files."""

from __future__ import annotations

import hashlib
import inspect
import platform
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torchserve_fire

LIBRARIES = ("torch", "numpy", "Pillow")


def describe_code() -> dict[str, Any]:
    """Return what decides, beside its arguments, what a function of the packages returns."""
    return {
        "code": packages_digest(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "machine": platform.machine(),
    }


@cache
def packages_digest() -> str:
    """Return a digest of the text of both packages."""
    digest = hashlib.sha256()
    for folder in (Path(torchserve_fire.__file__).parent, Path(__file__).parents[1]):
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{file.relative_to(folder)}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def sources_of(each_of: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the digest of the files that define classes or functions, if known."""
    for each in each_of:
        try:
            file = inspect.getsourcefile(each)
            text = None if file is None else Path(file).read_bytes()
        except (TypeError, OSError):
            continue
        if text is not None:
            yield f"{each.__module__}.{each.__qualname__}", hashlib.sha256(text).hexdigest()
