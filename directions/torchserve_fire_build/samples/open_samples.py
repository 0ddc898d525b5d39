"""Opening samples that lie in a folder or a file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchserve_fire.model.config import HandlerConfig, load_config, parse_config

from ..common.errors import SamplesError
from ..common.names import NAMES_FILE
from .image_folder import ImageFolder
from .listed_files import LIST_SUFFIXES, files_in_list
from .read_table import read_table_samples
from .read_tensors import ARRAY_SUFFIXES, read_tensor_folder, read_tensors
from .sample_files import SampleFiles, images_in
from .samples import Samples

logger = logging.getLogger(__name__)


def open_samples(
    path: Path | str, input: HandlerConfig | Mapping[str, Any] | Path | str
) -> Samples:
    """Open a folder or a list of images, a file of tensors, or a table.

    Args:
        path: a folder with one subfolder per class (torchvision's ImageFolder convention), a flat
            folder, or a list of paths and labels, `.csv` or `.jsonl`; or a file with `inputs`,
            (N, *S) numbers, and optionally `labels`, (N,) integers, and `names`, (N,) texts.
            Tensors may also lie in a folder of such files, such as a quarantine. Or a table, a
            `.csv` or `.parquet` file, or a folder of such files.
        input: what the model takes: a `model-config.yaml`, or its settings under `handler:`. An
            `index_to_name.json` beside the file says which subfolder is which class.

    Returns:
        The samples. Images are decoded when they are asked for.

    Raises:
        SamplesError: the path does not exist, or does not hold what the model takes.
        ConfigError: the settings cannot be read.

    Example:
        >>> open_samples("clean", {"input": "image", "image_size": [32, 32],
        ...                        "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]})
        <ImageFolder: 200 of 3 x 32 x 32 from clean>
    """
    path, config = Path(path), _read_settings(input)
    if config.input == "image":
        images = ImageFolder(_image_files(path), config.describe_input())
        images.names_file = _names_beside(input)
        return images
    if config.input == "table":
        rows = read_table_samples(path, config)
        rows.names_file = _names_beside(input)
        return rows
    integers = config.input == "integers"
    if path.is_dir():
        return read_tensor_folder(path, integers=integers)
    if not path.is_file() or path.suffix not in ARRAY_SUFFIXES:
        raise SamplesError(
            f"{path}: expected a {' or '.join(ARRAY_SUFFIXES)} file with 'inputs' and 'labels' "
            f"(handler: input: {config.input})"
        )
    return read_tensors(path, integers=integers)


def _image_files(path: Path) -> SampleFiles:
    """Return the images of a folder or a list; log which files of a folder are none."""
    if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
        return files_in_list(path)
    if not path.is_dir():
        found = "a file" if path.exists() else "no such folder"
        raise SamplesError(
            f"{path}: {found}, expected a folder of images (handler: input: image), or a list of "
            f"them ({', '.join(LIST_SUFFIXES)})"
        )
    files = images_in(path)
    if files.others:
        logger.warning("%s: passed over %s", path, files.passed_over())
    return files


def _names_beside(input: object) -> Path | None:
    """Return the class names beside a configuration that is a file, if they are there."""
    if not isinstance(input, (str, Path)):
        return None
    names = Path(input).parent / NAMES_FILE
    return names if names.is_file() else None


def _read_settings(input: HandlerConfig | Mapping[str, Any] | Path | str) -> HandlerConfig:
    if isinstance(input, HandlerConfig):
        return input
    if isinstance(input, Mapping):
        return parse_config({"handler": dict(input)}, "input")
    return load_config(input)
