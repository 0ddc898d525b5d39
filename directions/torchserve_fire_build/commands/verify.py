"""`torchserve-fire verify`: whether a bundle or an archive is signed by a trusted key."""

from __future__ import annotations

import argparse

from .arguments.signing import add_trusted_key_argument, public_keys
from .arguments.values import existing_file


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "verify",
        help="check the signature of a bundle or an archive",
        description="Check that a bundle (with its .sig beside it) or an archive (.mar) is, to the "
        "byte, what a trusted key has signed. Nothing of it is run. Exit status: 0 it is, 2 it is "
        "not.",
        allow_abbrev=False,
    )
    parser.add_argument("file", type=existing_file, help="a bundle, or an archive (.mar)")
    add_trusted_key_argument(parser, "who must have signed", required=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from torchserve_fire.format.bundle_file import load_bundle

    from ..deployment.archive.sign_archive import verify_archive
    from ..signing.bundle_signature import check_bundle_signature

    keys = public_keys(args.trusted_keys)
    if args.file.suffix == ".mar":
        verify_archive(args.file, keys)
    else:
        check_bundle_signature(args.file, load_bundle(args.file).digest, keys)
    print(f"{args.file}: signed by a trusted key")
    return 0
