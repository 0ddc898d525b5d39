"""An archive's own handler, loaded in this process as TorchServe's worker loads it."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import yaml

from torchserve_fire.core.unpack import Unpacked
from torchserve_fire.errors import FireError, ModelError, first_line
from torchserve_fire.model.missing_package import missing_package
from torchserve_fire.serve.function_handler import FunctionHandler
from torchserve_fire.serve.repair_mixin import RepairMixin

from ..deployment.archive.entry import ENTRY_FILE
from ..deployment.archive.load_as_worker import gpu_id_of
from .surroundings import Surroundings

SEE_LOG = "; it does not start in TorchServe either: see its logs/model_log.log"


@dataclass(frozen=True)
class HandlerClass:
    """The class that an archive answers with.

    Attributes:
        archive: a copy of it to run.
        surroundings: of its code.
        kind: the class; of a repaired archive, that below the repair.
    """

    archive: Unpacked
    surroundings: Surroundings
    kind: type[Any]


@dataclass(frozen=True)
class WorkerHandler:
    """A handler that was started.

    Attributes:
        of: its class.
        instance: what answers; its model is in `instance.model`.
        context: TorchServe's, of the worker.
    """

    of: HandlerClass
    instance: Any
    context: Any

    def answer(self, *rows: dict[str, Any]) -> Any:
        """Answer requests in one batch, as the worker does.

        Args:
            rows: the parameters of each request, as a handler gets them.
        """
        from ts.context import RequestProcessor

        with self.of.surroundings.entered():
            ids = {i: str(i) for i in range(len(rows))}
            self.context.request_ids = ids
            self.context.metrics.set_request_ids(",".join(ids.values()))
            self.context.request_processor = [RequestProcessor({}) for _ in rows]
            return self.instance.handle(list(rows), self.context)


def handler_class(archive: Unpacked) -> HandlerClass:
    """Import the class that an archive answers with; of a repaired archive, that below the repair.

    Raises:
        ModelError: it cannot be imported, is none that TorchServe would take, or is one that holds
            the repair in itself.
    """
    copy = archive.copy_to_run()
    surroundings = Surroundings(copy.folder)
    name, _, function = archive.handler.partition(":")
    module_name = name.removesuffix(".py").rpartition("/")[2]
    with _failures(archive, "its handler cannot be imported"), surroundings.entered():
        module = _import(module_name)
    entry = getattr(module, function or "handle", None)
    if callable(entry) and not isinstance(entry, type):
        return HandlerClass(copy, surroundings, function_class(module, entry))
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
    if issubclass(found, RepairMixin):
        found = _below_repair(found, archive)
    return HandlerClass(copy, surroundings, found)


def _below_repair(found: type[Any], archive: Unpacked) -> type[Any]:
    """Return what the entry of a repaired archive adds the repair to."""
    bases = [base for base in found.__bases__ if base is not RepairMixin]
    if archive.handler != ENTRY_FILE or len(bases) != 1:
        raise ModelError(
            f"{archive.source}: its handler {found.__name__} holds the repair itself, and is not "
            "followed without it: derive the handler from TorchServe's alone and pack it anew, "
            "then repair that archive; or give --model-file, --serialized-file and --config-file"
        )
    if bases[0] is FunctionHandler:
        return function_class(found.module, found.function)
    return bases[0]


def function_class(module: ModuleType, entry: Callable[[Any, Any], Any]) -> type[FunctionHandler]:
    """Return a handler's class that answers by a function of a module."""
    return type(
        "FunctionOfModule",
        (FunctionHandler,),
        {"module": module, "function": staticmethod(entry)},
    )


def start_handler(handler: HandlerClass, device: torch.device) -> WorkerHandler:
    """Make a handler and start it, as a worker does on this device.

    Raises:
        ModelError: it cannot be made, or its `initialize` fails.
    """
    import ts
    from ts import __version__
    from ts.context import Context
    from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

    archive = handler.archive
    config = archive.file("configFile")
    with _failures(archive, "its handler does not start", SEE_LOG), handler.surroundings.entered():
        values = {} if config is None else yaml.safe_load(config.read_text(encoding="utf-8-sig"))
        metrics = MetricsCacheYamlImpl(str(Path(ts.__file__).parent / "configs" / "metrics.yaml"))
        metrics.initialize_cache()
        context = Context(
            archive.name,
            str(archive.folder),
            dict(archive.manifest),
            1,
            gpu_id_of(device),
            __version__,
            True,
            metrics,
            values or {},
        )
        metrics.set_request_ids("0")
        instance = handler.kind()
        instance.initialize(context)
    return WorkerHandler(handler, instance, context)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        # One of TorchServe's own, such as image_classifier.
        return importlib.import_module(f"ts.torch_handler.{name}")


@contextlib.contextmanager
def _failures(archive: Unpacked, what: str, more: str = "") -> Iterator[None]:
    """Tell what an archive's own code raises as this project's error, and then `more`."""
    try:
        yield
    except FireError as error:
        raise ModelError(f"{archive.source}: {what}: {error}") from error
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{archive.source}: {what}: {missing_package(error)}{_required(archive)}"
        ) from error
    except (Exception, SystemExit) as error:
        raise ModelError(f"{archive.source}: {what}: {failure(error, more)}") from error


def failure(error: BaseException, more: str = "") -> str:
    """Return in a line what an archive's code raised, then what to do of a GPU, or `more`."""
    said = first_line(error)
    if isinstance(error, (KeyError, IndexError, AttributeError, TypeError)):
        said = f"{type(error).__name__}: {said}"
    if "CUDA" in said or "NVIDIA" in said:
        return (
            f"{said}; it asks for a GPU: name one (--device cuda), where there is one; or have the "
            "handler take its device as TorchServe's BaseHandler does, the CPU where "
            "torch.cuda.is_available() is false"
        )
    return said + more


def _required(archive: Unpacked) -> str:
    """Say where an archive names the packages that it needs, which are not installed for it."""
    name = archive.model.get("requirementsFile")
    file = archive.folder / str(name)
    if not name or not file.is_file():
        return ""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    wanted = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return f"; the archive's {name} asks for {', '.join(wanted)[:200]}"
