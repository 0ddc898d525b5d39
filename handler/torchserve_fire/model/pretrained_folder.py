"""Models as transformers saves them by `save_pretrained`: a folder of weights and JSON files.

Only what lies in the folder is read, and no code from it is run.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import ModelError, first_line
from .sharded_weights import INDEX_SUFFIX, shard_files

WEIGHTS = ("model.safetensors", f"model{INDEX_SUFFIX}")
CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"

RESAMPLING = ("nearest-exact", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Interpolations by the numbers that Pillow has for them."""
WARPED_FROM = 384
"""From this size on, ConvNext's images are not cropped."""


def is_pretrained(weights: Path) -> bool:
    """Whether a file is the weights in a folder of `save_pretrained`."""
    return weights.name in WEIGHTS and (weights.parent / CONFIG).is_file()


def files_of(weights: Path) -> list[Path]:
    """Return the files of the folder that the model is loaded from, the weights first."""
    shards = shard_files(weights) if weights.name.endswith(INDEX_SUFFIX) else []
    others = [weights.parent / name for name in (CONFIG, PREPROCESSOR)]
    return [weights, *shards, *(path for path in others if path.is_file())]


def load_pretrained(weights: Path) -> nn.Module:
    """Build the model that a folder describes and load its weights.

    Args:
        weights: a file of the folder, which has a `config.json` beside it.

    Returns:
        The model, on the CPU, in evaluation mode and in single precision.

    Raises:
        ModelError: transformers is not installed or has no such architecture, the files are
            damaged, or the weights are not all that the model has.
    """
    folder = weights.parent
    transformers = _transformers(folder)
    try:
        names = json.loads((folder / CONFIG).read_text(encoding="utf-8-sig"))["architectures"]
        (name,) = names
        architecture: Any = getattr(transformers, name, None)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise ModelError(
            f"{folder / CONFIG}: expected the config.json of a model that transformers has saved, "
            "with the one class of its architectures"
        ) from None
    base = transformers.PreTrainedModel
    is_known = isinstance(architecture, type) and issubclass(architecture, base)
    if not is_known:
        raise ModelError(
            f"{folder / CONFIG}: transformers {transformers.__version__} has no model {name}, and "
            "code from the folder is not run: bring a model file (--model-file)"
        )
    try:
        with _quiet(transformers):
            model, said = architecture.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:  # Whatever is wrong with the folder's files.
        raise ModelError(
            f"{folder}: cannot be loaded by transformers: {first_line(error)}"
        ) from None
    for kind in ("missing_keys", "mismatched_keys"):
        if said.get(kind):
            raise ModelError(
                f"{folder}: its weights are not those of a {name}: {kind.split('_')[0]} "
                f"{sorted(map(str, said[kind]))[0]!r}"
            )
    loaded: nn.Module = model.float().eval()
    return loaded


def labels_of(folder: Path) -> Mapping[str, str]:
    """Return the names of the classes by their indices; none where they have none of their own."""
    try:
        labels = json.loads((folder / CONFIG).read_text(encoding="utf-8-sig"))["id2label"]
        named = {str(int(index)): str(label) for index, label in labels.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    made_up = all(label == f"LABEL_{index}" for index, label in named.items())
    return {} if made_up else named


def settings_of(folder: Path) -> Mapping[str, Any]:
    """Return the settings of `handler:` that the folder's preprocessor stands for.

    Returns:
        The settings; none where the folder has no preprocessor.

    Raises:
        ModelError: it prepares images in a way that the settings cannot say.
    """
    path = folder / PREPROCESSOR
    if not path.is_file():
        return {}
    transformers = _transformers(folder)
    try:
        with _quiet(transformers):
            processor = transformers.AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        return {"input": "image", **_size(processor, path), **_normalisation(processor)}
    except ModelError:
        raise
    except Exception as error:  # Of one that is for no images, or damaged.
        raise ModelError(f"{path}: is no preprocessor of images: {first_line(error)}") from None


def _size(processor: Any, path: Path) -> Mapping[str, Any]:
    size = _sides(processor.size)
    crop = _sides(processor.crop_size) if processor.do_center_crop else None
    settings: dict[str, Any] = {}
    crop_pct = getattr(processor, "crop_pct", None)
    if crop_pct and isinstance(size, int):
        whole = [size, size]
        settings = (
            {"resize": whole}
            if size >= WARPED_FROM
            else {"resize": int(size / crop_pct), "crop": whole}
        )
    elif processor.do_resize and size is not None:
        settings = {"resize": size} if crop is None else {"resize": size, "crop": crop}
    elif crop is not None:
        return {"crop": crop}
    if not settings or (isinstance(settings["resize"], int) and "crop" not in settings):
        raise ModelError(
            f"{path}: does not bring images to one size: give resize and crop in model-config.yaml"
        )
    resample = int(getattr(processor, "resample", 2))
    return settings | {"interpolation": RESAMPLING[resample]}


def _sides(size: Any) -> int | list[int] | None:
    """Return the length of the shorter side, or [height, width]; None where neither is said."""
    if size is None:
        return None
    values = size if isinstance(size, Mapping) else vars(size)
    if values.get("height") and values.get("width"):
        return [int(values["height"]), int(values["width"])]
    return int(values["shortest_edge"]) if values.get("shortest_edge") else None


def _normalisation(processor: Any) -> Mapping[str, Any]:
    """Return mean and std of pixels in [0, 1]."""
    mean, std = [0.0] * 3, [1.0] * 3
    if processor.do_normalize:
        mean = [float(value) for value in processor.image_mean]
        std = [float(value) for value in processor.image_std]
    unit = 255 * float(processor.rescale_factor) if processor.do_rescale else 255.0
    if abs(unit - 1) > 1e-6:  # What is 1 here is another number for the model.
        mean, std = [value / unit for value in mean], [value / unit for value in std]
    return {"mean": mean, "std": std}


def _transformers(folder: Path) -> Any:
    try:
        import transformers
    except ImportError:
        raise ModelError(
            f"{folder}: saved by transformers, which is not installed: pip install transformers "
            "here and where the model is served"
        ) from None
    return transformers


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Let it draw no progress bar, since loading takes a moment only."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
