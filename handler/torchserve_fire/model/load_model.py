"""Loading the user's model: its code and its weights, in each form that it may have."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ..errors import ModelError
from ..format.digest import file_sha256
from .checkpoint import Checkpoint, read_checkpoint
from .exported_program import SUFFIX, load_exported
from .fitting_weights import FittingWeights, NoFitError, load_fitting
from .model_file import import_model_file, model_classes, model_file_folder, why_not_built
from .pretrained_folder import is_pretrained, load_pretrained
from .sharded_weights import INDEX_SUFFIX
from .timm_model import build_timm, is_timm

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights.

    Attributes:
        model: on the CPU, in evaluation mode.
        class_name: name of its class in the model file.
        weights_sha256: SHA-256 of the weights' file; None where it is not known, or where they are
            in several files.
        state_sha256: `state_digest` of the model, where it was taken before.
    """

    model: nn.Module
    class_name: str
    weights_sha256: str | None
    state_sha256: str | None = None


def load_model(
    model_file: Path | str | None, serialized_file: Path | str, model_class: str | None = None
) -> LoadedModel:
    """Build a model and load its weights, or load a `torch.export` program.

    Args:
        model_file: Python file that defines the model's class, which is built without arguments;
            or `timm:NAME`. None for a program, and for a folder of transformers.
        serialized_file: the weights as `read_checkpoint` takes them, alone or in a checkpoint; or
            a program, `.pt2`. In a folder that `save_pretrained` wrote, its `model.safetensors` or
            the index of that.
        model_class: name of the class; needed only where several classes of the file can be built
            without arguments and take these weights.

    Raises:
        ModelError: a file is missing, unreadable or too many, no weights or several fit the model,
            no class or several fit, or the program cannot be repaired.
    """
    serialized_file = Path(serialized_file)
    check_model_files(model_file, serialized_file)
    if model_file is None:
        load = load_exported if serialized_file.suffix == SUFFIX else load_pretrained
        model = load(serialized_file)
    elif is_timm(model_file):
        model = _load_timm(model_file, read_checkpoint(serialized_file)).eval()
    else:
        checkpoint = read_checkpoint(serialized_file)
        model = _build(Path(model_file), checkpoint, model_class).eval()
    return LoadedModel(model, type(model).__name__, weights_digest(serialized_file))


def weights_digest(serialized_file: Path) -> str | None:
    """Return the SHA-256 of the weights' file; None where it only names the files of the weights.

    Raises:
        OSError: it cannot be read.
    """
    return None if serialized_file.name.endswith(INDEX_SUFFIX) else file_sha256(serialized_file)


def check_model_files(model_file: Path | str | None, serialized_file: Path) -> None:
    """Refuse weights without a model file, and a program with one.

    Raises:
        ModelError: one is missing, or too many.
    """
    needs_none = serialized_file.suffix == SUFFIX
    may_lack_one = needs_none or is_pretrained(serialized_file)
    if needs_none if model_file is not None else not may_lack_one:
        raise ModelError(
            f"{serialized_file}: expected a model file (--model-file) beside a state_dict, and "
            f"none beside a torch.export program ({SUFFIX}) or in a folder of save_pretrained"
        )


def _load_timm(model_file: Path | str, checkpoint: Checkpoint) -> nn.Module:
    model = build_timm(model_file, checkpoint)
    try:
        _, line = load_fitting(model, checkpoint)
    except NoFitError as error:
        raise ModelError(f"{model_file}, {checkpoint.path}: {error}") from None
    if line:
        logger.info(line)
    return model


def _build(path: Path, checkpoint: Checkpoint, wanted: str | None) -> nn.Module:
    """Return the one model of a model file that takes the weights."""
    fitting: list[tuple[str, nn.Module, FittingWeights, str]] = []
    reasons = []
    with model_file_folder(path):
        for candidate in model_classes(import_model_file(path), path, wanted):
            try:
                model = candidate()
            except (Exception, SystemExit) as error:
                reasons.append(why_not_built(candidate, error))
                continue
            if not isinstance(model, nn.Module):
                made = type(model).__name__
                reasons.append(f"{candidate.__name__} makes a {made}, no torch.nn.Module")
                continue
            try:
                fitting.append((candidate.__name__, model, *load_fitting(model, checkpoint)))
            except NoFitError as error:
                reasons.append(f"{candidate.__name__}: {error}")
    # Weights that fit as they are called are a better fit than those of a part.
    fitting = [fit for fit in fitting if not fit[2].prefix] or fitting
    if not fitting:
        raise ModelError(
            f"{path}: no class can be built without arguments and take the weights "
            f"{checkpoint.path.name} ({'; '.join(reasons)})"
        )
    if len(fitting) > 1:
        names = ", ".join(name for name, *_ in fitting)
        raise ModelError(
            f"{path}: {names} all take the weights {checkpoint.path.name}: name one in "
            "model-config.yaml as handler: model_class"
        )
    ((_, model, _, line),) = fitting
    if line:
        logger.info(line)
    return model
