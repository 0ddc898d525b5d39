"""`torchserve-fire package`: a model with its bundle as an archive for TorchServe."""

from __future__ import annotations

import argparse

from .arguments.model import add_model_arguments
from .arguments.signing import add_sign_argument, add_trusted_key_argument, signing_key
from .arguments.values import existing_file, existing_folder


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "package",
        help="pack a model with its bundle into NAME-VERSION.mar",
        description="Pack a model, its direction bundle and the handler into NAME-VERSION.mar. The "
        "archive is loaded once as a worker would, before it is written. Flags that "
        "torch-model-archiver has mean the same here.",
        allow_abbrev=False,
    )
    parser.add_argument("--model-name", required=True, help="name to serve it under")
    parser.add_argument("--version", required=True, help="version, such as 1.0")
    add_model_arguments(parser)
    parser.add_argument(
        "--bundle", type=existing_file, help="direction bundle; left out only where the mode is off"
    )
    parser.add_argument(
        "--handler",
        help="your own handler, to add the repair to, as torch-model-archiver takes it: a Python "
        "file, FILE.py:FUNCTION, or the name of one of TorchServe's, as image_classifier",
    )
    parser.add_argument(
        "--extra-files",
        default="",
        help="more files and folders, comma-separated, such as index_to_name.json",
    )
    parser.add_argument(
        "--requirements-file", type=existing_file, help="packages for TorchServe to install"
    )
    parser.add_argument(
        "--export-path",
        required=True,
        type=existing_folder,
        help="folder for the archive: the model store",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing archive")
    add_sign_argument(parser)
    add_trusted_key_argument(parser, "a bundle that is not signed by it is refused")
    parser.set_defaults(run=run, check=check, extras=("torchserve",))


def check(args: argparse.Namespace) -> None:
    """Read the key to sign with, and refuse an archive that cannot be written.

    Raises:
        SignatureError: there is no such key.
        FireError: the name cannot be served, or the archive exists already.
    """
    from ..deployment.archive.archive_name import new_archive_path

    new_archive_path(args.export_path, args.model_name, args.version, force=args.force)
    args.signing_key = signing_key(args.sign)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..deployment.archive.package import ArchiveInputs, package_archive

    inputs = ArchiveInputs(
        args.model_name,
        args.version,
        args.model_file,
        args.serialized_file,
        args.config_file,
        args.bundle,
        args.handler,
        args.extra_files,
        args.requirements_file,
    )
    archive = package_archive(
        inputs,
        args.export_path,
        force=args.force,
        signing_key=args.signing_key,
        trusted_keys=args.trusted_keys,
    )
    print(archive)
    return 0
