"""The arguments that name a model and samples."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..refusal import Refusal
from .device import add_device_argument
from .values import existing_file, existing_samples, existing_weights, model_source

if TYPE_CHECKING:
    from ...source.model_source import ModelSource
    from ...source.source_files import SourceFiles

FILES = ("model_file", "serialized_file", "config_file")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name a model, as its archive or its files, and where it runs."""
    parser.add_argument(
        "--archive",
        type=existing_samples,
        metavar="FILE.mar",
        help="the model's archive, or the folder of an unpacked one: its own handler loads the "
        "model and prepares the samples, as in the server; in place of the next three flags",
    )
    parser.add_argument(
        "--model-file",
        type=model_source,
        help="Python file with the model's class; or timm:NAME, a model of timm; none beside a "
        "torch.export program or a folder of transformers",
    )
    parser.add_argument(
        "--serialized-file",
        type=existing_weights,
        help="its weights: a state_dict or a checkpoint around it, .pth or .safetensors, or the "
        "index of sharded ones; or a torch.export program, .pt2; or a folder that transformers' "
        "save_pretrained wrote",
    )
    parser.add_argument(
        "--config-file",
        type=existing_file,
        help="its model-config.yaml; what it does not say of the input of a model of transformers "
        "or timm comes with the model",
    )
    add_device_argument(parser)


def check_model_arguments(args: argparse.Namespace) -> None:
    """Refuse a model of which a file is missing, or that is named twice; load nothing.

    Raises:
        Refusal: naming the flag.
        FireError: the extra that reads archives is not installed.
    """
    from ...common.environment import require_extras

    given = [name for name in FILES if getattr(args, name) is not None]
    if args.archive is not None:
        if given:
            raise Refusal(
                f"--{given[0].replace('_', '-')}: expected no such flag beside --archive, which "
                "holds the model"
            )
        require_extras("torchserve")
        return
    for name in FILES[1:]:
        if name not in given:
            raise Refusal(
                f"--{name.replace('_', '-')}: expected, as --model-file and the other files of the "
                "model; or --archive with all of them"
            )


def source_files(args: argparse.Namespace) -> SourceFiles:
    """Return the files of the model that the flags name."""
    from ...source.source_files import SourceFiles

    return SourceFiles(
        args.archive, args.model_file, args.serialized_file, args.config_file, args.device
    )


def open_source(args: argparse.Namespace) -> ModelSource:
    """Load the model that the flags name.

    Raises:
        FireError: it cannot be loaded, or there is no such device.
    """
    return source_files(args).open()


def add_clean_argument(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the flag that names clean samples."""
    parser.add_argument(
        "--clean",
        required=required,
        type=existing_samples,
        help="clean samples: a folder of images, with one subfolder per class, or flat; a list of "
        "them, .csv or .jsonl, with path and label; or a .npz or .safetensors file with inputs and "
        "labels; for an archive whose handler takes texts, .csv or .jsonl with text, label and id",
    )


def add_triggered_argument(parser: argparse._ActionsContainer, *, required: bool = True) -> None:
    """Add the flag that names triggered samples."""
    parser.add_argument(
        "--triggered",
        required=required,
        type=existing_samples,
        help="triggered samples, likewise; a file with a clean file at the same relative path, or "
        "a text with a clean one of the same id, makes a pair with it",
    )


def add_unpaired_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says that samples are no pairs."""
    parser.add_argument(
        "--unpaired",
        action="store_true",
        help="take triggered samples as unpaired, also where some are called as clean ones are",
    )


def add_accept_accuracy_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag that lets a command go on in spite of a low clean accuracy."""
    parser.add_argument(
        "--accept-accuracy",
        action="store_true",
        help="go on if the model would be right on far more of the clean samples with other "
        "labels, another mean and std, or other channels",
    )
