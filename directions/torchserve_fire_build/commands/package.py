"""`torchserve-fire package`: a model with its bundle as an archive for TorchServe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments.model import add_model_arguments, check_model_arguments, open_source
from .arguments.signing import add_sign_argument, add_trusted_key_argument, signing_key
from .arguments.values import existing_file, existing_folder, handler
from .refusal import Refusal

if TYPE_CHECKING:
    import torch


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
        type=handler,
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
        Refusal: a flag is missing, or does not go with the others.
        SignatureError: there is no such key.
        FireError: the name cannot be served, or the archive exists already.
    """
    from ..deployment.archive.archive_name import new_archive_path

    check_model_arguments(args)
    if args.archive is not None:
        others = {
            "--handler": args.handler,
            "--extra-files": args.extra_files,
            "--requirements-file": args.requirements_file,
        }
        for flag, value in others.items():
            if value:
                raise Refusal(
                    f"{flag}: expected no such flag beside --archive, which stays as it is"
                )
        if args.bundle is None:
            raise Refusal("--bundle: expected the direction bundle for the --archive")
    new_archive_path(args.export_path, args.model_name, args.version, force=args.force)
    args.signing_key = signing_key(args.sign)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.archive is not None:
        return _package_archive(args)
    import tempfile

    from ..common.devices import find_device
    from ..deployment.archive.any_archive import copy_as
    from ..deployment.archive.package import ArchiveInputs, package_archive

    device = find_device(args.device)
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
    with tempfile.TemporaryDirectory(prefix="fire-package-") as temporary:
        archive = package_archive(
            inputs,
            Path(temporary),
            signing_key=args.signing_key,
            trusted_keys=args.trusted_keys,
            device=device,
        )
        if args.handler is not None and args.bundle is not None:
            _compare_preparation(archive, device)
        target = args.export_path / archive.name
        copy_as(archive, args.version, target)
    print(target)
    return 0


def _compare_preparation(archive: Path, device: torch.device) -> None:
    """Refuse a handler that prepares images otherwise than the bundle was calibrated."""
    from torchserve_fire.errors import FireError

    from ..source.archive import open_archive
    from ..source.same_preparation import try_preparation

    try:
        source = open_archive(archive, device)
    except FireError as error:
        # What a worker does with it was tried; only this way of following it does not work.
        unknown = str(error)
    else:
        try:
            unknown = try_preparation(source)
        except FireError as error:
            # It lies in a temporary folder, of which nobody knows.
            raise FireError(str(error).replace(str(archive), archive.name)) from None
    if unknown:
        unknown = unknown.replace(str(archive), archive.name)
        print(f"whether the handler prepares inputs as in calibration is not known: {unknown}")


def _package_archive(args: argparse.Namespace) -> int:
    """Pack an archive again, with a bundle that was built for it."""
    import tempfile
    from dataclasses import replace

    from torchserve_fire.core.unpack import unpack
    from torchserve_fire.format.bundle_signature import check_bundle_signature
    from torchserve_fire.format.digest import file_sha256

    from ..archive_repair.repair_archive import addition_for
    from ..deployment.archive.archive_name import archive_path
    from ..deployment.archive.load_as_worker import load_as_worker
    from ..deployment.archive.repaired_archive import Example, check_signing, pack, stage_repaired
    from .arguments.fitting_bundle import load_fitting_bundle

    check_signing(unpack(args.archive), args.signing_key)
    source = open_source(args)
    bundle = load_fitting_bundle(args.bundle, source)
    # Of texts, zeros are no example that a worker can start with.
    example = Example(b"an example", ".txt") if bundle.input.padding else None
    if args.trusted_keys:
        check_bundle_signature(args.bundle, file_sha256(args.bundle), args.trusted_keys)
    target = archive_path(args.export_path, args.model_name, args.version)
    with tempfile.TemporaryDirectory(prefix="fire-package-") as temporary:
        staged = Path(temporary) / "archive"
        addition = replace(
            addition_for(source, args.bundle, args.version, None),
            name=args.model_name,
            example=example,
        )
        stage_repaired(source.unpacked(), addition, staged, args.signing_key)
        load_as_worker(staged, args.model_name, device=source.device)
        pack(staged, target)
    print(target)
    return 0
