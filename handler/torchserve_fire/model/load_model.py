"""Loading the user's model: a Python file and its weights, or a `torch.export` program."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BundleError, ModelError, first_line
from ..format.digest import file_sha256
from ..format.safetensors_file import parse_safetensors
from .exported_program import SUFFIX, load_exported


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights.

    Attributes:
        model: on the CPU, in evaluation mode.
        class_name: name of its class in the model file.
        weights_sha256: SHA-256 of the weights' file; None where it is not known.
    """

    model: nn.Module
    class_name: str
    weights_sha256: str | None


def load_model(
    model_file: Path | str | None, serialized_file: Path | str, model_class: str | None = None
) -> LoadedModel:
    """Build the model of a model file and load its weights, or load a `torch.export` program.

    Args:
        model_file: Python file that defines the model's class; the class is built without
            arguments. None for a program.
        serialized_file: a state_dict saved with `torch.save`, or a `.safetensors` file; or a
            program, `.pt2`.
        model_class: name of the class; needed only where several classes of the file can be built
            without arguments and take these weights.

    Raises:
        ModelError: a file is missing, unreadable or too many, the weights are not plain tensors,
            no class or several fit, or the program cannot be repaired.
    """
    serialized_file = Path(serialized_file)
    check_model_files(model_file, serialized_file)
    if model_file is None:
        model = load_exported(serialized_file)
        return LoadedModel(model, type(model).__name__, file_sha256(serialized_file))
    model_file = Path(model_file)
    weights = load_weights(serialized_file)
    classes = _model_classes(_import_file(model_file), model_file, model_class)
    fitting, reasons = [], []
    for candidate in classes:
        try:
            model = candidate()
            model.load_state_dict(weights)
        except (Exception, SystemExit) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            reasons.append(f"{candidate.__name__}: {' '.join(lines[:2])[:300]}")
        else:
            fitting.append(model.eval())
    if len(fitting) == 1:
        model = fitting[0]
        return LoadedModel(model, type(model).__name__, file_sha256(serialized_file))
    if fitting:
        names = ", ".join(type(m).__name__ for m in fitting)
        raise ModelError(
            f"{model_file}: {names} all take the weights {serialized_file.name}: name one in "
            "model-config.yaml as handler: model_class"
        )
    raise ModelError(
        f"{model_file}: no class can be built without arguments and take the weights "
        f"{serialized_file.name} ({'; '.join(reasons)})"
    )


def check_model_files(model_file: Path | str | None, serialized_file: Path) -> None:
    """Refuse weights without a model file, and a program with one.

    Raises:
        ModelError: one is missing, or too many.
    """
    if (model_file is None) != (serialized_file.suffix == SUFFIX):
        raise ModelError(
            f"{serialized_file}: expected a model file (--model-file) beside a state_dict, and "
            f"none beside a torch.export program ({SUFFIX})"
        )


def load_weights(path: Path) -> Mapping[str, Tensor]:
    """Read a state_dict; nothing but tensors is unpickled.

    Raises:
        ModelError: the file is missing, damaged, a TorchScript archive, or holds other objects.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file, expected the model's weights")
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    try:
        weights: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "TorchScript" in str(error):
            raise ModelError(
                f"{path}: a TorchScript archive, on whose layers no hook runs: bring the Python "
                "model file and its state_dict instead"
            ) from None
        # torch's own advice, to unpickle it all the same, is wrong for a model that is not trusted.
        raise ModelError(
            f"{path}: expected a state_dict, saved with torch.save(model.state_dict(), ...) or as "
            ".safetensors; it is damaged, of another format, or holds other objects than tensors"
        ) from None
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise ModelError(
            f"{path}: expected a state_dict of tensors; save model.state_dict() itself, not a "
            "checkpoint around it"
        )
    return weights


def _load_safetensors(path: Path) -> Mapping[str, Tensor]:
    """Read weights by the library, which maps the file; by our own reader where it is missing."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        try:
            return parse_safetensors(path.read_bytes(), str(path)).tensors
        except BundleError as error:
            raise ModelError(str(error)) from None
    try:
        weights: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path}: not a readable .safetensors file of weights: {first_line(error)}"
        ) from None
    return weights


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ModelError(f"{path}: no such file, expected the Python file of the model's class")
    # A name of its own, so that a model file does not replace a library of its name.
    name = f"_fire_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path}: expected a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.modules[name] = module
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # The end of a script may be in it.
        del sys.modules[name]
        raise ModelError(f"{path}: cannot be imported: {first_line(error)}") from error
    finally:
        sys.path.remove(folder)
    return module


def _model_classes(module: ModuleType, path: Path, wanted: str | None) -> list[type[nn.Module]]:
    classes = list(
        dict.fromkeys(  # A class may have a second name there.
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, nn.Module)
            and value.__module__ == module.__name__
        )
    )
    names = ", ".join(c.__name__ for c in classes) or "none"
    if wanted is not None:
        classes = [c for c in classes if c.__name__ == wanted]
    if not classes:
        expected = f"the class {wanted}" if wanted else "a subclass of torch.nn.Module"
        raise ModelError(f"{path}: expected {expected}, found {names}")
    return classes
