"""The entry of an archive: the class that TorchServe takes, with the repair around a handler."""

from __future__ import annotations

import ast
import importlib.util
import keyword
import shutil
from dataclasses import dataclass
from pathlib import Path

import torchserve_fire
from torchserve_fire.core.archive_signature import SIGNATURE_FILE
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle_file import BUNDLE_FILE

ENTRY_FILE = "fire_service.py"
PACKED_HANDLER = torchserve_fire.__name__
RESERVED = (
    ENTRY_FILE,
    PACKED_HANDLER,
    f"{PACKED_HANDLER}.py",
    BUNDLE_FILE,
    SIGNATURE_FILE,
    "MAR-INF",
)
"""Places in an archive that are this project's, and TorchServe's."""

TORCHSERVE_HANDLERS = "ts.torch_handler"

IMPORTING = '''\
"""The entry of this archive: the repair around {name} of {file}."""

from torchserve_fire.errors import ModelError
from torchserve_fire.model.missing_package import missing_package
{imports}
try:
    {importing}
except ModuleNotFoundError as error:
    # TorchServe would look for a handler of its own by this name instead.
    raise ModelError(f"{file} cannot be imported: {{missing_package(error)}}") from error
except RuntimeError as error:
    # On a RuntimeError TorchServe would keep a version without workers.
    raise ModelError(f"{file} cannot be imported: {{error}}") from error


class {service}(RepairMixin, {base}):
    """Serves the archive's model with its direction bundle."""
'''

FUNCTION = """
    module = {module}
    function = staticmethod({module}.{name})
"""

MIXIN = "from torchserve_fire.serve.repair_mixin import RepairMixin\n"
FUNCTION_HANDLER = "from torchserve_fire.serve.function_handler import FunctionHandler\n"


@dataclass(frozen=True)
class HandlerEntry:
    """What an archive answers with.

    Attributes:
        module: that a worker imports, of the archive or of TorchServe.
        name: of its class, or of its function.
        is_function: whether it is a function.
    """

    module: str
    name: str
    is_function: bool = False


def entry_around(entry: HandlerEntry) -> str:
    """Return the source of an entry that puts the repair around a handler."""
    own = entry.module.startswith(TORCHSERVE_HANDLERS)
    named = {
        "name": entry.name,
        "module": entry.module,
        "file": entry.module if own else f"{entry.module}.py",
        "service": "FireService" if entry.name != "FireService" else "RepairedFireService",
    }
    if entry.is_function:
        text = IMPORTING.format(
            imports=FUNCTION_HANDLER + MIXIN,
            importing=f"import {entry.module}",
            base="FunctionHandler",
            **named,
        )
        return text + FUNCTION.format(**named)
    importing = f"from {entry.module} import {entry.name}"
    return IMPORTING.format(imports=MIXIN, importing=importing, base=entry.name, **named)


def entry_of(handler: str) -> tuple[HandlerEntry, Path | None]:
    """Read what `--handler` says, as torch-model-archiver takes it.

    Args:
        handler: FILE.py, FILE.py:FUNCTION, or the name of one of TorchServe's own handlers.

    Returns:
        The entry, and the file to pack; None for one of TorchServe's own.

    Raises:
        FireError: there is no such file or handler, or it does not say what answers.
    """
    text, _, function = handler.partition(":")
    if not text.endswith(".py") and not Path(text).exists():
        return _own_of_torchserve(handler), None
    file = Path(text)
    module = file.stem
    if file.suffix != ".py" or not module.isidentifier() or keyword.iskeyword(module):
        raise FireError(f"--handler {handler}: expected a Python file that can be imported")
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except OSError as error:
        raise FireError(f"--handler {handler}: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        raise FireError(f"--handler {handler}: not valid Python: {error}") from None
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if function and function not in functions:
        raise FireError(
            f"--handler {handler}: defines the functions {', '.join(functions) or 'none'}, "
            f"expected {function}"
        )
    # As TorchServe's loader has it, a function `handle` comes before a class.
    if function or "handle" in functions:
        return HandlerEntry(module, function or "handle", is_function=True), file
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    if len(names) != 1:
        raise FireError(
            f"--handler {handler}: defines {', '.join(names) or 'no class'}, expected one "
            "class, or a function `handle`, which TorchServe takes as the handler"
        )
    return HandlerEntry(module, names[0]), file


def pack_serving_package(folder: Path) -> None:
    """Copy the package that serves into an unpacked archive."""
    core = Path(torchserve_fire.__file__).parent
    for source in core.rglob("*.py"):
        copy = folder / PACKED_HANDLER / source.relative_to(core)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)


def _own_of_torchserve(name: str) -> HandlerEntry:
    module = f"{TORCHSERVE_HANDLERS}.{name}"
    spec = importlib.util.find_spec(module) if name.isidentifier() else None
    if spec is None or spec.origin is None:
        raise FireError(
            f"--handler {name}: expected a Python file, or one of TorchServe's own handlers, such "
            "as image_classifier"
        )
    tree = ast.parse(Path(spec.origin).read_bytes())
    (found,) = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    return HandlerEntry(module, found)
