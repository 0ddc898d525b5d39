"""An archive's own handler, loaded in this process as TorchServe's worker loads it."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from torchserve_fire.errors import FireError, ModelError, first_line
from torchserve_fire.model.missing_package import missing_package
from torchserve_fire.serve.function_handler import FunctionHandler
from torchserve_fire.serve.repair_mixin import RepairMixin

from ..deployment.archive.unpack import Unpacked

_opened: set[Path] = set()
"""The folders of the archives whose modules this process has imported."""


@dataclass(frozen=True)
class WorkerHandler:
    """A handler that was started.

    Attributes:
        folder: the unpacked archive, which is a worker's working folder.
        instance: what answers; its model is in `instance.model`.
        context: TorchServe's, of the worker.
    """

    folder: Path
    instance: Any
    context: Any

    def answer(self, row: dict[str, Any]) -> Any:
        """Answer one request in a batch of its own, as the worker does.

        Args:
            row: the request's parameters, as a handler gets them.
        """
        from ts.context import RequestProcessor

        with in_folder(self.folder):
            self.context.request_ids = {0: "0"}
            if self.context.metrics is not None:
                self.context.metrics.set_request_ids("0")
            self.context.request_processor = [RequestProcessor({})]
            return self.instance.handle([row], self.context)

    def prepare(self, rows: Sequence[dict[str, Any]]) -> Any:
        """Return what the handler's `preprocess` makes of requests."""
        with in_folder(self.folder):
            return self.instance.preprocess(list(rows))


def handler_class(archive: Unpacked) -> type[Any]:
    """Import the class that an archive answers with; of a repaired archive, that below the repair.

    Raises:
        ModelError: it cannot be imported, or is none that TorchServe would take.
    """
    name, _, function = archive.handler.partition(":")
    module_name = name.removesuffix(".py").rpartition("/")[2]
    _forget_other(module_name, archive.folder)
    with _failures(archive, "its handler cannot be imported"), in_folder(archive.folder):
        module = _import(module_name, archive.folder)
    entry = getattr(module, function or "handle", None)
    if callable(entry) and not isinstance(entry, type):
        return function_class(module, entry)
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        names = ", ".join(each.__name__ for each in classes) or "none"
        raise ModelError(
            f"{archive.source}: handler {archive.handler}: defines the classes {names}, expected "
            "one, or a function `handle`, which TorchServe takes"
        )
    (found,) = classes
    if not issubclass(found, RepairMixin):
        return found
    # A repaired archive's entry is the mixin beside the handler, or a handler that has the mixin.
    below = [base for base in found.__bases__ if base is not RepairMixin]
    return below[0] if below else found


def function_class(module: ModuleType, entry: Callable[[Any, Any], Any]) -> type[FunctionHandler]:
    """Return a handler's class that answers by a function of a module."""
    return type(
        "FunctionOfModule",
        (FunctionHandler,),
        {"module": module, "function": staticmethod(entry)},
    )


def start_handler(archive: Unpacked, kind: type[Any]) -> WorkerHandler:
    """Make a handler and start it on the CPU, as a worker does.

    Raises:
        ModelError: it cannot be made, or its `initialize` fails.
    """
    import ts
    from ts import __version__
    from ts.context import Context
    from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

    config = archive.file("configFile")
    with _failures(archive, "its handler does not start"), in_folder(archive.folder):
        values = {} if config is None else yaml.safe_load(config.read_text(encoding="utf-8-sig"))
        metrics = MetricsCacheYamlImpl(str(Path(ts.__file__).parent / "configs" / "metrics.yaml"))
        metrics.initialize_cache()
        context = Context(
            archive.name,
            str(archive.folder),
            {"model": dict(archive.model)},
            1,
            None,
            __version__,
            True,
            metrics,
            values or {},
        )
        metrics.set_request_ids("0")
        instance = kind()
        instance.initialize(context)
    return WorkerHandler(archive.folder, instance, context)


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Run a block as a worker of an archive runs: in its folder, from which it can import.

    What the handler prints is its own, and is left out.
    """
    before = Path.cwd()
    os.chdir(folder)
    # A handler may import more when it answers than when it starts.
    sys.path.insert(0, str(folder))
    level = logging.root.manager.disable
    # A handler's log is the worker's, and none of this command's; TorchServe's modules set one up.
    logging.disable(logging.WARNING)
    handlers = logging.root.handlers[:]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)
        logging.root.handlers[:] = handlers
        sys.path.remove(str(folder))
        os.chdir(before)


def _import(name: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        # One of TorchServe's own, such as image_classifier.
        return importlib.import_module(f"ts.torch_handler.{name}")


def _forget_other(name: str, folder: Path) -> None:
    """Forget modules of archives opened before whose files have the same names."""
    names = {path.stem for path in folder.glob("*.py")}
    names |= {path.name for path in folder.iterdir() if path.is_dir()}
    for known, module in list(sys.modules.items()):
        top = known.partition(".")[0]
        if top not in names | {name} or top == "torchserve_fire":
            continue
        file = getattr(module, "__file__", None)
        # What is installed stays: a worker, too, would import it once.
        if file is not None and any(Path(file).is_relative_to(other) for other in _opened):
            del sys.modules[known]
    _opened.add(folder.resolve())


@contextlib.contextmanager
def _failures(archive: Unpacked, what: str) -> Iterator[None]:
    """Tell what an archive's own code raises as this project's error."""
    try:
        yield
    except FireError:
        raise
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{archive.source}: {what}: {missing_package(error)}; what the server's environment "
            "has (the archive's requirements) is needed in this one, too"
        ) from error
    except (Exception, SystemExit) as error:
        raise ModelError(f"{archive.source}: {what}: {first_line(error)}") from error
