"""The arguments that name a model and samples."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ...common.names import NAMES_FILE
from .values import existing_file, existing_samples, existing_weights, model_source

if TYPE_CHECKING:
    from torchserve_fire.model.config import HandlerConfig


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that describe a model, called as torch-model-archiver calls them."""
    parser.add_argument(
        "--model-file",
        type=model_source,
        help="Python file with the model's class; or timm:NAME, a model of timm; none beside a "
        "torch.export program or a folder of transformers",
    )
    parser.add_argument(
        "--serialized-file",
        required=True,
        type=existing_weights,
        help="its weights: a state_dict or a checkpoint around it, .pth or .safetensors, or the "
        "index of sharded ones; or a torch.export program, .pt2; or a folder that transformers' "
        "save_pretrained wrote",
    )
    parser.add_argument(
        "--config-file",
        required=True,
        type=existing_file,
        help="its model-config.yaml; what it does not say of the input of a model of transformers "
        "or timm comes with the model",
    )


def load_settings(args: argparse.Namespace) -> HandlerConfig:
    """Return the settings in the configuration, and those that come with the model.

    Raises:
        FireError: they cannot be read, or one is missing or wrong.
    """
    from torchserve_fire.model.config import load_config
    from torchserve_fire.model.own_settings import own_settings

    return load_config(args.config_file, own_settings(args.model_file, args.serialized_file))


def add_clean_argument(
    parser: argparse.ArgumentParser, *, labelled: bool, required: bool = True
) -> None:
    """Add the flag that names clean samples, whose labels may be needed."""
    folders = "one subfolder per class" if labelled else "one subfolder per class, or flat"
    parser.add_argument(
        "--clean",
        required=required,
        type=existing_samples,
        help=f"clean samples: a folder of images, with {folders}; a list of them, .csv or .jsonl, "
        "with path and label; or a .npz or .safetensors file with inputs and labels",
    )


def add_triggered_argument(parser: argparse._ActionsContainer, *, required: bool = True) -> None:
    """Add the flag that names triggered samples."""
    parser.add_argument(
        "--triggered",
        required=required,
        type=existing_samples,
        help="triggered samples, likewise; a file with a clean file at the same relative path "
        "makes a pair with it",
    )


def add_unpaired_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says that samples are no pairs."""
    parser.add_argument(
        "--unpaired",
        action="store_true",
        help="take triggered samples as unpaired, also where some are called as clean ones are",
    )


def names_file(args: argparse.Namespace) -> Path | None:
    """Return the file of the class names: beside the configuration, or that of transformers."""
    from torchserve_fire.model.pretrained_folder import CONFIG, is_pretrained, labels_of

    file: Path = args.config_file.parent / NAMES_FILE
    if file.is_file():
        return file
    folder: Path = args.serialized_file.parent
    has_names = args.model_file is None and is_pretrained(args.serialized_file)
    return folder / CONFIG if has_names and labels_of(folder) else None
