"""The arguments that name a model and samples."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...common.names import NAMES_FILE
from .values import existing_file, existing_samples


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that describe a model, called as torch-model-archiver calls them."""
    parser.add_argument(
        "--model-file",
        type=existing_file,
        help="Python file with the model's class; none beside a torch.export program",
    )
    parser.add_argument(
        "--serialized-file",
        required=True,
        type=existing_file,
        help="its state_dict, .pth or .safetensors; or a torch.export program, .pt2",
    )
    parser.add_argument(
        "--config-file", required=True, type=existing_file, help="its model-config.yaml"
    )


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
    """Return the file of TorchServe's class names, if it lies beside the configuration."""
    file: Path = args.config_file.parent / NAMES_FILE
    return file if file.is_file() else None
