"""Importing the Python file of a model: the classes in it that may be the model's."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from torch import nn

from ..errors import ModelError, first_line
from .missing_package import STAND_IN, missing_package
from .other_modules import without_other_modules

_importing = threading.RLock()

BY_A_CLASS = (
    "add a class that TorchServe can build without arguments: class Net(nn.Module), whose "
    "`def __new__(cls):` returns the model"
)


@contextlib.contextmanager
def model_file_folder(path: Path) -> Iterator[None]:
    """Let a model file import its neighbours, while it is imported and its classes are built.

    It gets its own, even if the process has others of the same names, as of another model. Code at
    its top finds an empty command line, in a command as on a server. One thread at a time does it.
    """
    folder = path.resolve().parent
    with _importing, without_other_modules(folder):
        arguments = sys.argv
        sys.path.insert(0, str(folder))
        sys.argv = [str(path)]
        try:
            yield
        finally:
            sys.argv = arguments
            with contextlib.suppress(ValueError):  # It may have taken it away itself.
                sys.path.remove(str(folder))


def import_model_file(path: Path) -> ModuleType:
    """Import a model file, inside `model_file_folder`.

    Both `from blocks import Block` and `from .blocks import Block` find a neighbour.

    Raises:
        ModelError: there is no such file, or it cannot be imported.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file, expected the Python file of the model's class")
    # A name of its own, so that a model file does not replace a library of its name.
    name = f"{_package_of(path.resolve().parent)}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path}: expected a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ModelError(f"{path}: cannot be imported: {_reason(error, said)}") from error
    sys.stderr.write(said.getvalue())
    return module


def model_classes(module: ModuleType, path: Path, wanted: str | None) -> list[type[nn.Module]]:
    """Return the classes of a model file that may be the model's.

    Args:
        module: the imported file.
        path: the file.
        wanted: the name of the class, where it is known.

    Returns:
        The classes that the file defines; where it defines none, those that it imports from
        elsewhere than PyTorch.

    Raises:
        ModelError: there is none, or none of that name.
    """
    classes = [
        value
        for value in dict.fromkeys(  # A class may have a second name there.
            value for value in vars(module).values() if isinstance(value, type)
        )
        if issubclass(value, nn.Module) and value.__module__.split(".")[0] != "torch"
    ]
    classes = [c for c in classes if c.__module__ == module.__name__] or classes
    names = ", ".join(c.__name__ for c in classes) or "none"
    if wanted is not None:
        classes = [c for c in classes if c.__name__ == wanted]
    if classes:
        return classes
    if wanted is not None:
        raise ModelError(f"{path}: expected the class {wanted}, found {names}")
    raise ModelError(
        f"{path}: expected a subclass of torch.nn.Module, found none{_beside(module)}: {BY_A_CLASS}"
    )


def why_not_built(candidate: type[nn.Module], error: BaseException) -> str:
    """Say why a class cannot be built without arguments, and what to do, in a line."""
    reason = first_line(error)
    if isinstance(error, TypeError) and _needed_arguments(candidate):
        names = ", ".join(_needed_arguments(candidate))
        return f"{candidate.__name__} is built with {names}: give them defaults, or {BY_A_CLASS}"
    if isinstance(error, ModuleNotFoundError):
        reason = missing_package(error)
    return f"{candidate.__name__} cannot be built: {reason}"


def _package_of(folder: Path) -> str:
    """Return the name of a package that stands for a folder, so that relative imports work."""
    name = f"{STAND_IN}{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return name


def _reason(error: BaseException, said: io.StringIO) -> str:
    if isinstance(error, SystemExit):
        # argparse says why, and ends the process.
        lines = said.getvalue().strip().splitlines()
        why = f" saying {lines[-1].strip()[:200]!r}" if lines else ""
        return (
            f"it ends the process (SystemExit){why}: put what only a script does below "
            "if __name__ == '__main__'"
        )
    if isinstance(error, ModuleNotFoundError):
        return missing_package(error)
    return first_line(error)


def _beside(module: ModuleType) -> str:
    """Return the functions that a file defines, one of which may make the model."""
    made = [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    return f" beside the function {', '.join(made[:3])}" if made else ""


def _needed_arguments(candidate: type) -> list[str]:
    try:
        parameters = list(inspect.signature(candidate).parameters.values())
    except (TypeError, ValueError):
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        p.name
        for p in parameters
        if p.default is inspect.Parameter.empty and p.kind not in optional
    ]
